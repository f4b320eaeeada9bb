// Every chart can be taken along: as a picture, as a drawing, and as its figures. Charts come and go with answers, so
// the buttons of each are put there when the chart comes.
const PIXELS = 2;
const CHART = "figure.chart:not(.chart-file)";
const charts = () => document.querySelectorAll(CHART);
const captionOf = (chart) => chart.querySelector("figcaption :is(h2, h3), h3") ?? chart.querySelector("figcaption");
const titleOf = (chart) => captionOf(chart)?.textContent ?? chart.getAttribute("aria-label") ?? chart.dataset.name;
const create = (name, properties) => Object.assign(document.createElement(name), properties);

// Long tables are written when they are wanted.
const written = (table) => {
  for (const body of table.querySelectorAll("tbody[data-rows]")) {
    const rows = JSON.parse(body.dataset.rows);
    delete body.dataset.rows;
    body.replaceChildren(...rows.map(([first, ...rest]) => {
      const row = create("tr", {});
      row.append(create("th", { scope: "row", textContent: first }), ...rest.map((cell) => create("td", { textContent: cell })));
      return row;
    }));
  }
  return table;
};

// As a spreadsheet reads it: figures without separators, a unit that all of a column share in its heading, what is not
// known empty, and no text that it would take for a formula.
const AMOUNT = /^([+−-]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(e[+-]?\d+)?(?: (\D{1,18}))?$/;
const UNKNOWN = ["–", "…", "not known", "unknown"];
const amountOf = (text) => {
  const found = AMOUNT.exec(text);
  if (!found) return undefined;
  const [, sign, whole, part = "", power = "", unit = ""] = found;
  return { number: `${"-−".includes(sign || "+") ? "-" : ""}${whole.replaceAll(",", "")}${part}${power}`, unit };
};
const quoted = (text) => {
  const safe = /^[=+@\t\r-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};
const columnOf = ([heading, ...cells]) => {
  const known = cells.map((cell) => UNKNOWN.includes(cell) ? "" : cell), amounts = known.map(amountOf);
  const units = new Set(amounts.filter(Boolean).map(({ unit }) => unit)), [unit] = units;
  const isOfOneUnit = units.size === 1 && known.every((cell, at) => !cell || amounts[at]);
  return [isOfOneUnit && unit ? `${heading} (${unit})` : heading,
          ...known.map((cell, at) => (isOfOneUnit || amounts[at]?.unit === "") && cell ? amounts[at].number : cell)];
};
// A button in a table is no figure.
const textIn = (cell) => [...cell.childNodes].map((node) => node.localName === "button" ? "" : node.textContent).join("").trim();
const figuresOf = (chart) => {
  const rows = [...written(chart.querySelector(".chart-table table")).rows].map((row) => [...row.cells].map(textIn));
  const columns = rows[0].map((_, at) => columnOf(rows.map((row) => row[at] ?? "")));
  const filled = columns.filter((column) => column.some((text) => text));
  const lines = rows.map((_, at) => filled.map((column) => quoted(column[at])).join(","));
  // Spreadsheets know by the mark at the start that this is UTF-8.
  return new Blob([`\ufeff${lines.join("\r\n")}\r\n`], { type: "text/csv;charset=utf-8" });
};

// Drawn from a copy of one width, whatever the window's, with its title.
const draw = draftsman();
const drawingOf = (chart) => {
  const copy = chart.cloneNode(true), title = titleOf(chart);
  for (const named of copy.querySelectorAll("[id]")) named.removeAttribute("id");
  for (const beside of copy.querySelectorAll(".chart-table, .chart-files")) beside.remove();
  if (!captionOf(copy)) {
    const caption = create("figcaption", {});
    caption.append(create("h3", { textContent: title }), create("span", { textContent: chart.dataset.unit ?? "" }));
    copy.prepend(caption);
  }
  copy.classList.add("chart-file");
  copy.inert = true;
  chart.after(copy);
  try {
    return draw(copy, title);
  } finally {
    copy.remove();
  }
};
const svgOf = (chart) => new Blob([new XMLSerializer().serializeToString(drawingOf(chart))], { type: "image/svg+xml" });
const pngOf = async (chart) => {
  const url = URL.createObjectURL(svgOf(chart)), image = new Image();
  try {
    image.src = url;
    await image.decode();
    const canvas = create("canvas", { width: PIXELS * image.width, height: PIXELS * image.height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((done) => canvas.toBlob(done, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
};
const FILES = { PNG: pngOf, SVG: svgOf, CSV: figuresOf };
const nameOf = (chart) => chart.dataset.name.toLowerCase().replace(/[^a-z0-9_]+/g, "-").replace(/^-+|-+$/g, "") || "chart";
const save = async (chart, kind) => {
  const url = URL.createObjectURL(await FILES[kind](chart));
  create("a", { href: url, download: `${nameOf(chart)}.${kind.toLowerCase()}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
};
document.addEventListener("click", ({ target }) => {
  const kind = target.closest?.(".chart-files [data-kind]")?.dataset.kind;
  if (kind) save(target.closest("figure.chart"), kind);
});

const equip = (chart) => {
  const table = chart.querySelector(":scope > .chart-table");
  if (!table || chart.querySelector(":scope > .chart-files")) return;
  const buttons = create("div", { className: "chart-files" });
  buttons.setAttribute("role", "group");
  buttons.setAttribute("aria-label", `Save: ${titleOf(chart)}`);
  buttons.append(...Object.keys(FILES).map((kind) => {
    const button = create("button", { type: "button", textContent: kind, title: `Save as ${kind}` });
    button.dataset.kind = kind;
    return button;
  }));
  table.before(buttons);
};

// What was open stays open, and what the keyboard is at keeps it, when a chart comes anew.
const isOpen = new Set();
let held;
document.addEventListener("toggle", ({ target }) => {
  if (!target.matches?.(`${CHART} > .chart-table`) || !target.isConnected) return;
  if (target.open) written(target);
  isOpen[target.open ? "add" : "delete"](target.parentElement.dataset.name);
}, true);
document.addEventListener("focusin", ({ target }) => {
  const kind = target.closest(".chart-files [data-kind]")?.dataset.kind;
  held = kind && { name: target.closest("figure.chart").dataset.name, kind };
});
document.addEventListener("pointerdown", ({ target }) => { if (!target.closest?.(".chart-files")) held = undefined; });
const tend = () => {
  for (const chart of charts()) {
    equip(chart);
    const table = chart.querySelector(":scope > .chart-table");
    if (table && !table.open && isOpen.has(chart.dataset.name)) table.open = true;
  }
  if (!held || document.activeElement !== document.body) return;
  const again = [...charts()].find((chart) => chart.dataset.name === held.name && chart.offsetParent);
  again?.querySelector(`.chart-files [data-kind="${held.kind}"]`)?.focus({ preventScroll: true });
};
// A new answer may keep a chart's frame and put all anew that stands in it.
new MutationObserver(() => {
  if (document.querySelector(`${CHART}:has(> .chart-table):not(:has(> .chart-files))`)) tend();
}).observe(document.body, { childList: true, subtree: true });
tend();
