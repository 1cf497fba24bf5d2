// The one Plotly wrapper. Figures carry token names ("@critical", "@critical/0.12"), never colours; this resolves
// them against tokens.css, so one JSON serves both themes.

// No "share" button, no logo, no cloud address: a chart of a client's position never leaves this origin.
export const CONFIG = Object.freeze({
  showSendToCloud: false, plotlyServerURL: "", displaylogo: false, displayModeBar: false, responsive: true,
});
const NARROW_PX = 380;

const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);
const colour = (name) => {
  const [token, alpha] = name.slice(1).split("/");
  probe.style.color = `var(--${token})`;
  const rgb = getComputedStyle(probe).color;
  return alpha ? rgb.replace("rgb(", "rgba(").replace(")", `, ${alpha})`) : rgb;
};
const resolve = (value) => {
  if (typeof value === "string") return /^@[a-z]/.test(value) ? colour(value) : value;
  if (Array.isArray(value)) return value.map(resolve);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
  return value;
};
const axis = () => ({
  gridcolor: "@grid", linecolor: "@line-2", zeroline: false, ticks: "outside", ticklen: 4, tickcolor: "@line-2",
  tickfont: { size: 11, color: "@ink-2" }, title: { font: { size: 11, color: "@ink-2" } }, fixedrange: true, automargin: false,
});
const base = () => ({
  paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
  font: { family: '"Inter Variable", Inter, system-ui, sans-serif', size: 11, color: "@ink" },
  hoverlabel: { bgcolor: "@surface", bordercolor: "@line-2", font: { size: 12, color: "@ink" } },
  separators: ".,", dragmode: false, margin: { l: 52, r: 16, t: 8, b: 40 },
});
const merge = (into, from) => {
  for (const [key, value] of Object.entries(from || {}))
    into[key] = value && typeof value === "object" && !Array.isArray(value)
      ? merge(into[key] && typeof into[key] === "object" ? into[key] : {}, value) : value;
  return into;
};

const drawn = new Map(); // plot element -> { fig, narrow }

const layoutOf = (fig, narrow, height) => {
  const layout = base();
  const axes = Object.keys(fig.layout).filter((key) => /^[xy]axis/.test(key));
  for (const key of new Set(["xaxis", "yaxis", ...axes])) layout[key] = axis();
  merge(layout, structuredClone(fig.layout));
  if (narrow) merge(layout, structuredClone(fig.narrow));
  const other = narrow ? "wide" : "narrow";
  if (layout.annotations) layout.annotations = layout.annotations.filter((note) => note.name !== other);
  layout.height = height;
  return layout;
};
const draw = async (plot, fig) => {
  const narrow = plot.clientWidth < NARROW_PX;
  drawn.set(plot, { fig, narrow });
  // react() draws the first time as well, and afterwards only what changed: no flicker.
  await window.Plotly.react(plot, resolve(fig.data), resolve(layoutOf(fig, narrow, plot.clientHeight)), CONFIG);
};

const cells = (row, kind, texts) => {
  for (const [place, text] of texts.entries()) {
    const cell = document.createElement(kind);
    cell.textContent = text;
    if (place) cell.className = "num";
    row.append(cell);
  }
};
const fillTable = (box, table) => {
  const drawing = document.createElement("table");
  drawing.className = "data dense";
  cells(drawing.createTHead().insertRow(), "th", table.headers);
  const body = drawing.createTBody();
  for (const texts of table.rows) cells(body.insertRow(), "td", texts);
  box.replaceChildren(drawing);
};
const describe = (plot, fig) => {
  const figure = plot.closest("figure");
  figure.querySelector("[data-part=title]").textContent = fig.title;
  figure.querySelector("[data-part=caption]").textContent = fig.caption;
  plot.setAttribute("aria-label", fig.alt);
  const details = figure.querySelector("details");
  details.hidden = false;
  const fill = () => details.open && fillTable(details.querySelector(".scroll"), fig.table);
  details.ontoggle = fill;
  fill();
};

// A picture that did not come stays as it was, or away, without colours, and says so; its table is under it.
const tell = (figure, isNew) => {
  figure.querySelector(".failed").hidden = isNew;
  figure.classList.toggle("is-old", !isNew);
};

// Strip and figures are of one run: a figure of a newer one asks the part for it, but not with every answer.
const RUN = /^\d{8}T\d{6}\.\d{6}/;
const WAKE_AT_MOST_EVERY_MS = 2_000;
let wokenAt = 0;
const runOf = (version) => RUN.exec(version ?? "")?.[0] ?? "";
const agree = (fig) => {
  const part = document.querySelector("[data-run]");
  const run = runOf(part?.dataset.run);
  if (!run || runOf(fig.version) <= run || Date.now() - wokenAt < WAKE_AT_MOST_EVERY_MS) return;
  wokenAt = Date.now();
  window.htmx.trigger(part, "wake");
};

const load = async (plot) => {
  const figure = plot.closest("figure");
  const url = new URL(plot.dataset.fig, location.href);
  const known = drawn.get(plot)?.fig;
  if (known) url.searchParams.set("v", known.version);
  try {
    const answer = await fetch(url, { headers: { Accept: "application/json" } });
    const elsewhere = answer.headers.get("HX-Redirect");
    if (elsewhere) location.assign(elsewhere);
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const fig = answer.status === 204 ? known : await answer.json();
    // Of two questions under way the older may be answered last.
    const isOvertaken = runOf(drawn.get(plot)?.fig.version) > runOf(fig.version);
    if (fig.version !== known?.version && !isOvertaken) {
      describe(plot, fig);
      await draw(plot, fig);
    }
    agree(fig);
    tell(figure, true);
  } catch {
    tell(figure, false);
  }
};
const plots = () => [...document.querySelectorAll("[data-fig]")];

// A part of the page that came anew says that something changed: a newer run, or that figures of this one are old by now.
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.elt.dataset?.run) plots().forEach(load);
});
new MutationObserver(() => {
  for (const [plot, { fig }] of drawn) draw(plot, fig);
}).observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });
addEventListener("resize", () => {
  for (const [plot, { fig, narrow }] of drawn)
    if (narrow !== plot.clientWidth < NARROW_PX) draw(plot, fig);
});
document.fonts.ready.then(() => plots().forEach(load));
