// Fills the picture of a sweep in as its points come, marks what is on screen, and makes a point current.
const part = (name) => element.querySelector(`.sweep-${name}`);
const stage = part("stage"), stale = part("stale");
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
let asked = 0, from, sweep, draft, written = {}, focused, here = "";

const allAt = (at) => [...stage.querySelectorAll(`[data-at="${at}"]`)];
const isShown = (point) => point.getClientRects().length > 0;
const pointAt = (at) => allAt(at).find(isShown);
const isRefused = (point) => point.matches(".refused") || point.querySelector(".refused");
const touchesAt = (at) => Object.assign({}, ...at.split(",").map((index, axis) => sweep.touches[axis][index]));

// What is said of a point stands under the picture, where it hides nothing.
const tell = (at) => {
  const lines = sweep?.told[at] ?? (sweep ? [HOVER] : []);
  part("told")?.replaceChildren(...lines.map((line, number) =>
    Object.assign(document.createElement(number || lines.length === 1 ? "p" : "b"), { textContent: line })));
};
const tellWhatIsHere = () => tell(focused ?? here);

// The draft as every widget shows it: a file's own values, and what was touched since.
const FILE = ["text", "unread", "config", "config_for"], BESIDE = ["card", "expandable_segments"];
const locate = () => {
  if (!sweep || !draft) return;
  const now = { ...sweep.opened, ...draft.touched }, then = { ...sweep.opened, ...sweep.draft.touched };
  const moved = new Set(sweep.touches.flatMap((axis) => axis.flatMap(Object.keys)));
  const differs = [
    ...(FILE.every((name) => same(draft[name], sweep.draft[name])) ? [] : ["the file"]),
    ...BESIDE.filter((name) => !same(draft[name], sweep.draft[name])),
    ...Object.keys(now).filter((name) => !moved.has(name) && !same(now[name], then[name])),
  ];
  stale.hidden = !differs.length;
  stale.textContent = differs.length
    ? `Predicted before these were changed: ${differs.join(", ")}. Run it again to have all points as they are now.` : "";
  element.classList.toggle("old", differs.length > 0);
  const at = sweep.touches.map((axis) => axis.findIndex((choice) =>
    Object.entries(choice).every(([name, value]) => same(value, now[name]))));
  const before = here;
  here = at.includes(-1) || differs.length ? "" : at.join(",");
  // While a slider moves most of its values are not in the picture.
  if (here !== before) mark();
};
const mark = () => {
  for (const point of stage.querySelectorAll(".here[data-at]")) {
    point.classList.remove("here");
    point.removeAttribute("aria-current");
  }
  for (const point of here ? allAt(here) : []) {
    point.classList.add("here");
    point.setAttribute("aria-current", "true");
  }
  const frame = stage.querySelector(".here-mark"), cell = pointAt(here)?.querySelector(".cell");
  for (const side of ["x", "y", "width", "height"]) frame?.setAttribute(side, cell?.getAttribute(side) ?? 0);
  // The tab key stops at one of them.
  for (const point of stage.querySelectorAll('[data-at][tabindex="0"]')) point.tabIndex = -1;
  const stop = pointAt(focused ?? here) ?? [...stage.querySelectorAll("[data-at]")].find(isShown);
  if (stop) stop.tabIndex = 0;
  for (const button of stage.querySelectorAll("table [data-touches]"))
    button.closest("tr").classList.toggle("here", !!here && same(JSON.parse(button.dataset.touches), touchesAt(here)));
  tellWhatIsHere();
};
const dress = () => {
  for (const point of stage.querySelectorAll("[data-at]")) {
    const lines = sweep.told[point.dataset.at];
    if (!lines || point.hasAttribute("role")) continue;
    point.tabIndex = -1;
    point.setAttribute("role", "button");
    point.setAttribute("aria-label", lines.join(". "));
    if (isRefused(point)) point.setAttribute("aria-disabled", "true");
    else point.dataset.touches = JSON.stringify(touchesAt(point.dataset.at));
  }
};
const fill = () => {
  if (written.frame !== sweep.frame) {
    stage.innerHTML = sweep.frame;
    written = { frame: sweep.frame };
  }
  const hadFocus = focused && stage.contains(document.activeElement);
  for (const [name, html] of Object.entries(sweep.parts)) {
    if (written[name] === html) continue;
    written[name] = html;
    const slot = stage.querySelector(`[data-part="${name}"]`);
    slot.innerHTML = html;
    delete slot.dataset.empty;
  }
  for (const [name, amount] of Object.entries(sweep.colours)) stage.style.setProperty(name, amount);
  dress();
  locate();
  mark();
  if (hadFocus) pointAt(focused)?.focus({ preventScroll: true });
};
watch("value", () => {
  const value = props.value;
  // A late word about a sweep that was followed by another one.
  if (value?.asked !== asked) return;
  if (value.frame) {
    if (sweep?.asked !== asked) focused = undefined;
    sweep = { ...value, draft: from };
    fill();
  }
  part("whole").dataset.state = value.state;
  part("progress").firstChild.style.width = `${100 * (value.share ?? 0)}%`;
  part("said").textContent = value.said;
  document.dispatchEvent(new CustomEvent("sweep-told", { detail: { asked, state: value.state, axes: value.axes, faults: value.faults } }));
  part("whole").classList.toggle("waiting", value.state === "planning");
});
document.addEventListener("sweep-asked", ({ detail }) => {
  ({ asked, draft: from } = detail);
  draft = from;
  part("whole").dataset.state = "planning";
  part("whole").classList.add("waiting");
  part("said").textContent = "Planning…";
  part("progress").firstChild.style.width = 0;
});
document.addEventListener("draft-changed", ({ detail }) => { draft = detail; locate(); });

element.addEventListener("change", ({ target }) => {
  if (target.name !== "sweep-quantity") return;
  stage.dataset.quantity = target.value;
  mark();
});
const under = (target) => target.closest?.("[data-at]");
stage.addEventListener("pointerover", ({ target }) => { if (under(target)) tell(under(target).dataset.at); });
stage.addEventListener("pointerleave", tellWhatIsHere);
stage.addEventListener("focusin", ({ target }) => {
  if (!under(target)) return;
  focused = under(target).dataset.at;
  mark();
});
stage.addEventListener("focusout", ({ relatedTarget }) => {
  if (relatedTarget && !under(relatedTarget)) { focused = undefined; tellWhatIsHere(); }
});
// Arrows go along the axes, over what has no point yet; Enter and the space bar press.
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, -1], ArrowDown: [1, 1] };
const nextAt = (at, [isUpright, step]) => {
  const across = Number(stage.querySelector("[data-across]").dataset.across);
  const axis = at.length === 1 ? 0 : isUpright ? 1 - across : across;
  const go = [...at];
  for (;;) {
    go[axis] += step;
    if (!(go[axis] in sweep.touches[axis])) return undefined;
    const point = pointAt(go.join(","));
    if (point) return point;
  }
};
stage.addEventListener("keydown", (event) => {
  const point = under(event.target);
  if (!point) return;
  if (event.key in STEPS) {
    event.preventDefault();
    nextAt(point.dataset.at.split(",").map(Number), STEPS[event.key])?.focus();
  } else if (["Enter", " "].includes(event.key)) {
    event.preventDefault();
    point.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  }
});
