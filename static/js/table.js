// Keys of the positions table, and a shift-click on a header that sorts by it beneath what there is.

const rows = () => [...document.querySelectorAll("#positions-table tbody tr")];
const linkOf = (row) => row?.querySelector("a[id^='p-']");
const isTyping = (target) => target.closest("input, select, textarea, [contenteditable], dialog[open]");

// The row is remembered by its link: the table is put anew every few seconds, and keeps the reader's place.
let held = null;
const mark = (row) => {
  for (const other of rows()) other.classList.toggle("is-held", other === row);
};
const move = (step) => {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => linkOf(row)?.id === held);
  const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  held = linkOf(next)?.id ?? null;
  mark(next);
  linkOf(next)?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
};

document.addEventListener("htmx:afterSettle", () => {
  const link = held && document.getElementById(held);
  if (!link) return;
  mark(link.closest("tr"));
  if (document.activeElement === document.body) link.focus({ preventScroll: true });
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (event.key === "j" || event.key === "k") {
    event.preventDefault();
    move(event.key === "j" ? 1 : -1);
  } else if (event.key === "Enter" && held && event.target === document.body) {
    document.getElementById(held)?.click();
  } else if (event.key === "?") {
    event.preventDefault();
    document.getElementById("table-keys")?.showModal();
  }
});

document.addEventListener("click", (event) => {
  const header = event.target.closest("a[data-also]");
  if (!header || !event.shiftKey) return;
  event.preventDefault();
  location.assign(header.dataset.also);
});
