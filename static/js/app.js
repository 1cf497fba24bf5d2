// What every page does: theme buttons, polls that rest in hidden tabs, ages that keep counting, a voice for changes.

const LOST_AFTER_MS = 15_000;
const OLD_AFTER_MS = 60_000;

// ---- theme -----------------------------------------------------------------------------------------------
const showTheme = () => {
  const saved = localStorage.getItem("theme") || "system";
  for (const button of document.querySelectorAll("[data-theme-choice]"))
    button.setAttribute("aria-pressed", String(button.dataset.themeChoice === saved));
};
for (const button of document.querySelectorAll("[data-theme-choice]"))
  button.addEventListener("click", () => {
    if (button.dataset.themeChoice === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", button.dataset.themeChoice);
    dispatchEvent(new Event("theme"));
    showTheme();
  });
showTheme();

// ---- menus: close on Escape and on a click elsewhere; a link may open one -----------------------------------
for (const menu of document.querySelectorAll("details.pop")) {
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-opens]")?.dataset.opens === menu.id) {
      event.preventDefault();
      menu.open = true;
      menu.querySelector("input:not([type=hidden])")?.focus();
    } else if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

// ---- polling: a hidden tab asks for nothing and catches up when it is seen again ---------------------------
let answeredAt = Date.now();
let seenAt = Date.now();
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) answeredAt = Date.now();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  seenAt = Date.now();
  for (const poll of document.querySelectorAll("[data-poll]")) window.htmx.trigger(poll, "wake");
});

// ---- swaps keep what the reader had: sideways scroll; and say what changed ----------------------------------
const scrolled = new Map();
document.addEventListener("scroll", (event) => {
  if (event.target.id) scrolled.set(event.target.id, event.target.scrollLeft);
}, true);
let title = document.querySelector("[data-title]")?.dataset.title;
document.addEventListener("htmx:afterSettle", () => {
  for (const [id, left] of scrolled) {
    const box = document.getElementById(id);
    if (box && box.scrollLeft !== left) box.scrollLeft = left;
  }
  const now = document.querySelector("[data-title]")?.dataset.title;
  if (now && now !== title) {
    title = now;
    document.title = `${now} · Bulkhead`;
    document.getElementById("announce").textContent = now;
  }
});

// ---- ages: a figure gets older whether or not the server answers --------------------------------------------
const words = (seconds) => {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} d`;
};
const firstSeen = new WeakMap();
const tick = () => {
  const now = Date.now();
  for (const age of document.querySelectorAll("[data-age]")) {
    if (!firstSeen.has(age)) firstSeen.set(age, now);
    const seconds = Number(age.dataset.age) + (now - firstSeen.get(age)) / 1000;
    age.textContent = words(seconds);
    if (age.dataset.limit && seconds > Number(age.dataset.limit)) age.closest(".fresh")?.classList.add("is-late");
  }
  const silent = document.querySelector("[data-poll]") ? now - Math.max(answeredAt, seenAt) : 0;
  const lost = document.getElementById("lost");
  if (lost) lost.hidden = document.hidden || silent < LOST_AFTER_MS;
  document.documentElement.classList.toggle("is-lost", !document.hidden && silent > OLD_AFTER_MS);
};
setInterval(tick, 1000);

// "/" puts the cursor into the search box, unless somebody is typing.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, [contenteditable]")) return;
  const find = document.getElementById("find");
  if (!find) return;
  event.preventDefault();
  find.select();
  find.focus();
});
