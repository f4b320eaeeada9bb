// The picture is drawn by the server, a few paths for hundreds of cells. What can be chosen in it lives here: a block of
// rows by layers, drawn by the pointer or with the keyboard. The grid holds one cell, the one that the keyboard is at.
const NAMES = -1;
const grid = () => element.querySelector("[role=grid]");
const rows = () => [...element.querySelectorAll("[role=row]")];
const names = () => rows().map((row) => row.dataset.row);
const numLayers = () => Number(grid()?.dataset.layers ?? 0);
const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
const within = (value, last) => Math.min(Math.max(value, 0), last);

// at: where the keyboard is; from, to: two corners of what is chosen, none while nothing is.
let at = { row: 0, layer: 0 }, from, to, known = "", hadFocus = false;

const chosen = () => from && {
  names: names().slice(Math.min(from.row, to.row), Math.max(from.row, to.row) + 1),
  first: Math.min(from.layer, to.layer),
  last: Math.max(from.layer, to.layer),
  layers: numLayers(),
};
const holds = ({ row, layer }) => {
  if (!from) return false;
  const between = (value, one, other) => value >= Math.min(one, other) && value <= Math.max(one, other);
  return between(row, from.row, to.row) && between(layer, from.layer, to.layer);
};
const said = (row, layer) => JSON.parse(row.dataset.said).find(([first, last]) => layer >= first && layer <= last)?.[2];

const placeCell = () => {
  for (const old of element.querySelectorAll("[role=gridcell]")) old.remove();
  for (const name of element.querySelectorAll("button.heat-name")) name.tabIndex = -1;
  const row = rows()[at.row];
  if (!row) return undefined;
  if (at.layer === NAMES) {
    const name = row.querySelector("button.heat-name");
    if (name) {
      name.tabIndex = 0;
      return name;
    }
    at.layer = 0;
  }
  const cell = Object.assign(document.createElement("span"), { className: "heat-cell", role: "gridcell", tabIndex: 0 });
  cell.ariaColIndex = at.layer + 2;
  cell.ariaSelected = holds(at);
  cell.ariaLabel = `${row.dataset.row}, layer ${at.layer}: ${said(row, at.layer)}`;
  cell.style.left = `${(100 * at.layer) / numLayers()}%`;
  cell.style.width = `${100 / numLayers()}%`;
  row.querySelector(".heat-cells").append(cell);
  return cell;
};
const placeChosen = () => {
  element.querySelector(".heat-chosen")?.remove();
  const plot = element.querySelector(".heat-plot");
  if (!from || !plot) return;
  const { first, last } = chosen(), [top, bottom] = [from.row, to.row].sort((one, other) => one - other);
  const box = plot.appendChild(Object.assign(document.createElement("span"), { className: "heat-chosen" }));
  const above = rows()[top], below = rows()[bottom], start = grid().getBoundingClientRect().top;
  const [high, low] = [above.getBoundingClientRect().top - start, below.getBoundingClientRect().bottom - start];
  Object.assign(box.style, {
    left: `${(100 * first) / numLayers()}%`,
    width: `${(100 * (last - first + 1)) / numLayers()}%`,
    top: `${high}px`,
    height: `${low - high}px`,
  });
};
const show = (isFocused) => {
  placeChosen();
  const stop = placeCell();
  if (isFocused) stop?.focus({ preventScroll: true });
};
const choose = (one, other, isFocused) => {
  [from, to] = [one, other];
  at = { ...other };
  show(isFocused);
  tell("layers-chosen", chosen());
  tell("kind-chosen", { kind: names()[other.row], layer: other.layer });
};
const forget = (isFocused) => {
  from = to = undefined;
  show(isFocused);
  tell("layers-chosen", undefined);
};

const switchRow = (name) => {
  const isOn = name.ariaPressed === "true", row = name.closest("[role=row]").dataset.row;
  at = { row: names().indexOf(row), layer: NAMES };
  tell("kind-chosen", { kind: row });
  tell("map-edit-wanted", { act: isOn ? "off" : "on", names: [row], first: 0, last: numLayers() - 1 });
};

// Keyboard: what is chosen follows where it is; Shift draws it larger.
const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const moved = (key) => {
  const [down, right] = MOVES[key] ?? [0, key === "Home" ? -Infinity : Infinity];
  const layer = Math.min(Math.max(at.layer + right, key === "Home" ? 0 : NAMES), numLayers() - 1);
  return { row: within(at.row + down, rows().length - 1), layer };
};
const move = (key, isLarger) => {
  const next = moved(key);
  if (next.layer !== NAMES) return choose(isLarger && from ? from : next, next, true);
  if (isLarger) return undefined;
  at = next;
  show(true);
  return tell("kind-chosen", { kind: names()[at.row] });
};
const whole = { row: () => [{ row: at.row, layer: 0 }, { row: at.row, layer: numLayers() - 1 }],
                column: () => [{ row: 0, layer: at.layer }, { row: rows().length - 1, layer: at.layer }],
                map: () => [{ row: 0, layer: 0 }, { row: rows().length - 1, layer: numLayers() - 1 }] };
element.addEventListener("keydown", (event) => {
  if (!event.target.closest("[role=grid]") || event.altKey || event.metaKey) return;
  const { key, shiftKey, ctrlKey } = event, isCell = at.layer !== NAMES;
  if ((key in MOVES || key === "Home" || key === "End") && !ctrlKey) move(key, shiftKey);
  else if (key === "Escape" && from) forget(true);
  else if (key === " " && isCell) choose(...(shiftKey ? whole.row() : ctrlKey ? whole.column() : [at, at]), true);
  else if (key === "a" && ctrlKey) choose(...whole.map(), true);
  else if (key === "Enter" && isCell && from) document.querySelector("#map-edits .map-act")?.focus();
  else return;
  event.preventDefault();
});
element.addEventListener("focusin", ({ target }) => {
  hadFocus = Boolean(target.closest("[role=grid]"));
  if (target.matches("button.heat-name")) at = { row: rows().indexOf(target.closest("[role=row]")), layer: NAMES };
});
document.addEventListener("focusin", ({ target }) => { if (!element.contains(target)) hadFocus = false; });
document.addEventListener("pointerdown", ({ target }) => { if (!element.contains(target)) hadFocus = false; });

// Pointer: over the picture a block is drawn, over the numbers below it all rows of the layers.
let isDrawing = false;
const placeOf = ({ clientX, clientY }) => {
  const plot = element.querySelector(".heat-plot").getBoundingClientRect();
  const layer = within(Math.floor(((clientX - plot.left) / plot.width) * numLayers()), numLayers() - 1);
  const row = rows().findIndex((one) => clientY < one.getBoundingClientRect().bottom + 2);
  return { row: row < 0 ? rows().length - 1 : row, layer };
};
element.addEventListener("pointerdown", (event) => {
  const isAxis = event.target.closest(".heat-ticks"), isPlot = event.target.closest(".heat-plot");
  if (event.button || !grid() || !(isAxis || isPlot)) return;
  const place = placeOf(event);
  isDrawing = isAxis ? "columns" : "block";
  if (isAxis) choose({ ...place, row: 0 }, { ...place, row: rows().length - 1 });
  else choose(event.shiftKey && from ? from : place, place);
  element.setPointerCapture(event.pointerId);
  event.preventDefault();
});
element.addEventListener("pointermove", (event) => {
  if (!isDrawing) return;
  const place = placeOf(event), row = isDrawing === "columns" ? rows().length - 1 : place.row;
  if (place.layer !== to.layer || row !== to.row) choose(from, { row, layer: place.layer });
});
for (const name of ["pointerup", "pointercancel"])
  element.addEventListener(name, () => {
    if (isDrawing) show(true);
    isDrawing = false;
  });
element.addEventListener("click", ({ target }) => {
  const name = target.closest?.("button.heat-name");
  if (name) switchRow(name);
});

// A new picture: what was chosen stays chosen while the rows are the same.
watch("value", () => {
  const now = JSON.stringify([names(), numLayers()]);
  if (now !== known && known) {
    at = { row: 0, layer: 0 };
    from = to = undefined;
    tell("layers-chosen", undefined);
  }
  known = now;
  show(hadFocus && document.activeElement === document.body);
});
document.addEventListener("layers-wanted", ({ detail: take }) => take(chosen()));
