// While a slider moves the slower answers keep a distance, so that they do not slow the count. Once the slider rests
// they come at once.
const later = (act, wait_ms, distance_ms) => {
  let waiting, last = -Infinity;
  const go = () => { waiting = undefined; last = performance.now(); act(); };
  return () => waiting ??= setTimeout(go, Math.max(wait_ms, last + distance_ms - performance.now()));
};
// Until memory is known for what the page shows, the older figures are marked. Each question has a number, which its
// answer brings back; so no question that was lost on its way can leave the mark to a later answer.
let asked = 0;
const mark = (isOld) => document.body.classList.toggle("weighing", isOld);
const weighNow = () => {
  props.value = { ...props.value, asked };
  trigger("weigh");
};
document.addEventListener(WEIGHED, ({ detail }) => { if (detail === asked) mark(false); });
const write = later(() => trigger("write"), 60, 60), draw = later(() => trigger("draw"), 80, 400);
const weighSoon = later(weighNow, 120, 600), sort = later(() => trigger("sort"), 400, 1200);
// What stands there is old from the change on, not only from the moment at which it is asked for anew.
const weigh = (act = weighSoon) => {
  asked += 1;
  mark(true);
  act();
};
// What the text means, or how it differs, is asked for only while it is in sight.
const read = later(() => {
  if (!document.getElementById("yaml-reading")?.offsetParent) return;
  const isOther = document.querySelector("#panel-yaml[data-other]");
  const view = document.querySelector("#yaml-view input:checked")?.value ?? "meaning";
  trigger(isOther ? "convert" : view === "meaning" ? "read" : "compare");
}, 120, 300);
// What takes seconds waits until nothing has changed for a while.
let resting;
const rest = () => {
  document.querySelector(".savings-whole")?.classList.add("old");
  clearTimeout(resting);
  resting = setTimeout(() => {
    trigger("save");
    document.dispatchEvent(new CustomEvent("draft-rested"));
  }, 1200);
};
const ask = () => { trigger("count"); draw(); weigh(); sort(); rest(); read(); };
// The draft itself, without what the desk adds to a question.
const draftNow = () => Object.fromEntries(DRAFT.map((name) => [name, props.value[name]]));
const told = () => document.dispatchEvent(new CustomEvent(CHANGED, { detail: draftNow() }));
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
// What is touched while another draft is put in place would go under in the server's answer.
let meanwhile;
const touch = (held) => {
  Object.assign(meanwhile ?? {}, held);
  const beside = (name) => BESIDE.includes(name);
  const draft = { ...props.value, touched: { ...props.value.touched } };
  const changed = Object.entries(held).filter(
    ([name, value]) => !(beside(name) ? name in draft && same(draft[name], value)
                                      : name in draft.touched && same(draft.touched[name], value)));
  if (!changed.length) return;
  for (const [name, value] of changed) (beside(name) ? draft : draft.touched)[name] = value;
  props.value = draft;
  if (!meanwhile) told();
  if (Object.keys(held).every(beside)) {
    weigh(weighNow);
    sort();
    rest();
  } else {
    ask();
    write();
  }
};
// A list of choices that the keyboard comes to and leaves again tells what it showed all along.
const shownBefore = new WeakMap();
addEventListener("focusin", ({ target }) => shownBefore.set(target, target.value));
const isOnlyLeft = (list, name) => {
  const field = list && document.getElementById(list)?.querySelector("input");
  return field && !(name in props.value.touched) && shownBefore.get(field) === field.value;
};
document.addEventListener(TOUCHED, ({ detail: { name, value, list } }) => {
  if (!isOnlyLeft(list, name)) touch({ [name]: value });
});
// A saving that is pressed changes several settings at once; the server tells their widgets.
document.addEventListener("click", ({ target }) => {
  const pressed = target.closest?.("[data-touches]")?.dataset.touches;
  if (!pressed) return;
  const held = JSON.parse(pressed);
  touch(held);
  props.value = { ...props.value, pressed: Object.keys(held) };
  trigger("press");
});
// A fix that is pressed is written into the text by the server, which knows it by what it mends.
document.addEventListener("click", ({ target }) => {
  const pressed = target.closest?.("[data-mend]")?.dataset.mend;
  if (!pressed) return;
  props.value = { ...props.value, mend: JSON.parse(pressed) };
  trigger("mend");
});
// Another whole draft takes the place of this one; the server writes the widgets that show something else then.
document.addEventListener(REPLACED, ({ detail: { draft } }) => {
  props.value = { ...props.value, ...draft, before: draftNow() };
  meanwhile = {};
  trigger("replace");
});
document.addEventListener(WANTED, ({ detail: take }) => take(draftNow()));
document.addEventListener("yaml-opened", read);
// Where the count stays with an earlier draft, so does all else.
document.addEventListener(AT_FAULT, () => { draw(); weigh(); sort(); });
document.addEventListener("draft-opened", ask);
watch("value", () => {
  const held = meanwhile;
  meanwhile = undefined;
  told();
  ask();
  if (held) touch(held);
});
