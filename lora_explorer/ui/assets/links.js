// The buttons, the keys, and what the page shows when it is opened: a link in the address, else what the browser has
// kept, else the recipe that every visit starts with.
const MARK = "#c=";
const button = (name) => document.querySelector(`[data-tool="${name}"]`);
const fragment = () => (location.hash.startsWith(MARK) ? location.hash.slice(MARK.length) : null);
// linked: the draft that the link in the address stands for. beginning: whether nothing is shown yet.
let start, kept, linked = null, beginning = false, ownPins = null;

const setTitle = (name, steps) => {
  const next = steps.at(-1), words = next ? `${WORDS[name]}: ${next.names}` : WORDS[`${name}_nothing`];
  button(name).setAttribute("aria-disabled", String(!next));
  button(name).setAttribute("aria-label", words);
  button(name).title = words;
};
const isStart = () => !changesBetween(start, current).length;
let keeping;
const keep = () => {
  clearTimeout(keeping);
  keeping = undefined;
  writeKept({ draft: current, link: linked && fragment() });
};
addEventListener("pagehide", () => { if (keeping) keep(); });
// Once the draft is another one, a link in the address would tell a lie.
const moved = () => {
  if (linked && changesBetween(linked, current).length) {
    linked = null;
    history.replaceState(history.state, "", location.pathname + location.search);
  }
  setTitle("undo", past);
  setTitle("redo", ahead);
  button("restart").setAttribute("aria-disabled", String(isStart()));
  keeping ??= setTimeout(keep, 300);
};
document.addEventListener("draft-changed", ({ detail }) => {
  if (!current) return;
  if (!hear(detail)) rest();
  else if (linked) linked = current;
  moved();
});

// What was said of a link is over with the next change, but for the way back to pinned configurations.
const rest = () => { if (!ownPins) hush(); };

const pinsNow = () => {
  let pins = [];
  document.dispatchEvent(new CustomEvent("pins-wanted", { detail: (list) => { pins = list; } }));
  return pins;
};
const putPins = (pins) => document.dispatchEvent(new CustomEvent("pins-replaced", { detail: pins }));

// Each question has a number, which its answer brings back: only the last one's is of interest.
let asked = 0, askedAbout;
const question = (name, more) => {
  asked += 1;
  askedAbout = current;
  props.value = { asked, ...more };
  trigger(name);
};
const shared = async ({ link, pins, said }) => {
  const address = `${location.origin}${location.pathname}${MARK}${link}`;
  linked = askedAbout;
  history.replaceState(history.state, "", MARK + link);
  moved();
  const isCopied = await toClipboard(address);
  button("share").focus({ preventScroll: true });
  const holds = [WORDS.holds, WORDS.holds_one][pins] ?? WORDS.holds_more.replace("{}", pins);
  say(`${isCopied ? WORDS.copied : WORDS.not_copied} ${holds}`, { items: said, link: isCopied ? "" : address });
};
const opened = ({ draft, pins, said }) => {
  const mine = pinsNow();
  // The start that nobody has seen is nothing to go back to.
  if (!beginning && changesBetween(current, draft).length) leaveBehind(current, WORDS.link);
  put(draft);
  linked = draft;
  if (pins.length) putPins(pins);
  ownPins = pins.length && mine.length && !same(mine, pins) ? mine : null;
  say(past.length ? `${WORDS.opened} ${WORDS.undo_brings_back}` : WORDS.opened, { items: said, pins: ownPins });
  moved();
};
watch("value", () => {
  const answer = props.value;
  if (answer.asked !== asked) return;
  if (answer.draft) opened(answer);
  else if (answer.link) shared(answer);
  else {
    say(answer.said.join(" "), { isBad: true });
    if (beginning) showKept();
  }
  beginning = false;
});

const open = () => question("read_link", { link: fragment() });
const showKept = () => {
  if (kept) put(kept.draft);
  else document.dispatchEvent(new CustomEvent("draft-opened"));
};
// Nothing is counted before it is known what is to be shown.
document.addEventListener("draft-awaited", (event) => {
  event.preventDefault();
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: (draft) => { start = current = draft; } }));
  kept = readKept();
  if (fragment() === null || fragment() === kept?.link) {
    if (fragment() !== null) linked = kept.draft;
    showKept();
  } else {
    beginning = true;
    if (kept) leaveBehind(kept.draft, WORDS.link);
    open();
  }
  if (kept) moved();
});
addEventListener("hashchange", () => { if (fragment() !== null) open(); });

const travel = (from, to, word) => {
  if (!from.length) return;
  speak(word.replace("{}", () => step(from, to)));
  moved();
};
const startOver = () => {
  if (isStart()) return;
  leaveBehind(current, WORDS.start_over);
  put(start);
  speak(WORDS.started_over);
  moved();
};
const close = () => {
  ownPins = null;
  if (panel.contains(document.activeElement)) button("share").focus({ preventScroll: true });
  hush();
};
const TOOLS = {
  undo: () => travel(past, ahead, WORDS.undone),
  redo: () => travel(ahead, past, WORDS.redone),
  share: () => question("write_link", { pins: pinsNow() }),
  restart: startOver,
  "bring-back": () => { putPins(ownPins); close(); },
  hush: close,
};
document.addEventListener("click", ({ target }) => TOOLS[target.closest?.("[data-tool]")?.dataset.tool]?.());

// A field in which text is typed has an undo of its own.
const TYPED_IN = "textarea, select, input:not([type=range], [type=checkbox], [type=radio])";
const KEYS = { z: "undo", "shift+z": "redo", y: "redo" };
document.addEventListener("keydown", (event) => {
  const { key, ctrlKey, metaKey, shiftKey, altKey, target } = event;
  if (key === "Escape" && !panel.hidden) close();
  if (altKey || !(ctrlKey || metaKey) || target.isContentEditable || target.matches?.(TYPED_IN)) return;
  const tool = KEYS[`${shiftKey ? "shift+" : ""}${key.toLowerCase()}`];
  if (!tool) return;
  event.preventDefault();
  TOOLS[tool]();
});
