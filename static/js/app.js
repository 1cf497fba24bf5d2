// What every page does: theme buttons, polls that rest in hidden tabs, ages that keep counting, a voice for changes.

const LOST_AFTER_MS = 15_000;
// No younger than a mark may get: what was sure when it came may be so no longer.
const OLD_AFTER_MS = 40_000;

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
const openedAt = Date.now();
let seenAt = openedAt;
// Each part for itself: that another part is answered says nothing of this one.
const answeredAt = new WeakMap();
const heard = (part) => {
  if (!answeredAt.has(part)) answeredAt.set(part, Date.now());
  return answeredAt.get(part);
};
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.successful) return;
  answeredAt.set(event.detail.elt, Date.now());
  showDoubt();
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
let finding = document.querySelector("[data-title]")?.dataset.title;
let title = document.title;
document.addEventListener("htmx:afterSettle", () => {
  for (const [id, left] of scrolled) {
    const box = document.getElementById(id);
    if (box && box.scrollLeft !== left) box.scrollLeft = left;
  }
  const now = document.querySelector("[data-title]")?.dataset.title;
  if (now && now !== finding) {
    finding = now;
    title = `${now} · Bulkhead`;
    document.getElementById("announce").textContent = now;
  }
  showDoubt();
});

// ---- doubt: what nobody has confirmed for as long as a mark may be old loses its colour, and says "was" --------
const parts = (selector) => [...document.querySelectorAll(selector)].map(heard);
const former = new Map(); // chip -> what it said when it was sure
const doubt = (chip) => {
  if (former.has(chip) || chip.matches(".stale, .unknown, .closed")) return;
  const word = chip.lastChild;
  former.set(chip, { names: chip.className, word: word.textContent });
  chip.className = "state stale";
  const said = word.textContent.trim();
  word.textContent = `Was ${said === "OK" ? said : said.toLowerCase()}`;
};
const believe = (chip) => {
  const { names, word } = former.get(chip);
  former.delete(chip);
  chip.className = names;
  chip.lastChild.textContent = word;
};
// "Can I trust this page?" was answered when it came: nobody who does not answer now is believed.
const answer = (isSilent) => {
  for (const told of document.querySelectorAll("[data-lost]")) {
    told.dataset.sure ??= told.textContent;
    const isLate = told.closest("section").querySelector("[data-age].is-past");
    const text = isSilent ? told.dataset.lost : isLate ? told.dataset.late : told.dataset.sure;
    if (told.textContent !== text) told.textContent = text;
  }
};
const silentFor = () => {
  const asked = parts("[data-poll]");
  return asked.length ? Date.now() - Math.max(Math.min(...asked), seenAt) : 0;
};
const LIVE_CHIPS = "main :is([data-run], td, .title) .state";
const showDoubt = () => {
  if (document.querySelector("header.top.past")) return;
  const now = Date.now();
  const isOld = (since) => now - since > OLD_AFTER_MS;
  const live = parts("[data-run]");
  const isLost = parts("[data-poll]").some(isOld);
  for (const chip of former.keys()) if (!chip.isConnected) former.delete(chip);
  // A page without a part that asks again is as old as its opening.
  const rest = live.length ? Math.min(...live) : openedAt;
  const chips = document.querySelectorAll(LIVE_CHIPS);
  for (const chip of chips) {
    const part = chip.closest("[data-run]");
    if (isLost || isOld(part ? heard(part) : rest)) doubt(chip);
    else if (former.has(chip)) believe(chip);
  }
  document.documentElement.classList.toggle("is-lost", isLost);
  document.documentElement.classList.toggle("is-old", chips.length > 0 && !live.length && isOld(openedAt));
  answer(isLost || silentFor() >= LOST_AFTER_MS);
  const shown = isLost ? `Not up to date · ${title}` : title;
  if (document.title !== shown) document.title = shown;
};

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
    if (!age.dataset.limit || seconds <= Number(age.dataset.limit)) continue;
    age.classList.add("is-past");
    age.closest(".fresh")?.classList.add("is-late");
  }
  const lost = document.getElementById("lost");
  if (lost) lost.hidden = document.hidden || silentFor() < LOST_AFTER_MS;
  showDoubt();
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
