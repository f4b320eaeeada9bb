// Undo and redo of whole drafts, whoever changed them. Moves of one setting that follow each other are one change.
const FOLLOWS_WITHIN_MS = 1000, NO_ANSWER_MS = 20000;
const BESIDE_SETTINGS = {
  text: WORDS.text, unread: WORDS.text, config: WORDS.config, config_for: WORDS.config,
  card: WORDS.card, expandable_segments: WORDS.expandable_segments,
};
const past = [], ahead = [];
let current, last = {};
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

// What differs, by name. What widgets hold follows from a text that was opened.
const changesBetween = (before, after) => {
  const beside = Object.keys(BESIDE_SETTINGS).filter((name) => !same(before[name], after[name]));
  const names = new Set(beside.map((name) => BESIDE_SETTINGS[name]));
  if (names.has(WORDS.text)) return [WORDS.text];
  const settings = Object.keys({ ...before.touched, ...after.touched });
  return [...names, ...settings.filter((name) => !same(before.touched[name], after.touched[name]))];
};
const inWords = ([first, ...more]) => (more.length ? `${first} ${WORDS.and_more.replace("{}", more.length)}` : first);
// A tick or a list is a change each time; what is dragged or typed is one until it rests.
const isDragged = (name, draft) => name === WORDS.text || ["number", "string"].includes(typeof draft.touched[name]);

// However long a slider is held, and however slow the page is then, it is one move.
let hold = 0, isHeld = false;
addEventListener("pointerdown", () => { hold += 1; isHeld = true; }, true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { isHeld = false; }, true);
const follows = (now) => now - last.at < FOLLOWS_WITHIN_MS || (isHeld && hold === last.hold);

const leaveBehind = (draft, names) => {
  past.push({ draft, names });
  if (past.length > MOST_STEPS) past.shift();
  ahead.length = 0;
};
// What is opened in the page's place is a change of its own, however soon it follows what was typed.
let opens;
document.addEventListener("draft-replaced", ({ detail: { draft } }) => { opens = draft.text; });
const record = (draft) => {
  const names = changesBetween(current, draft), now = performance.now();
  if (!names.length) return;
  const isOpened = draft.text === opens;
  const goesOn = !isOpened && names.length === 1 && names[0] === last.name && follows(now);
  if (!goesOn) leaveBehind(current, inWords(names));
  current = draft;
  last = !isOpened && names.length === 1 && isDragged(names[0], draft) ? { name: names[0], at: now, hold } : {};
  if (isOpened) opens = undefined;
};

// The server answers a draft that is put in place with the same one, and with what its widgets tell then. Until it has,
// another one waits: the answer would come over it.
let answering, isNext = false;
const send = () => {
  clearTimeout(answering);
  answering = setTimeout(() => { answering = undefined; }, NO_ANSWER_MS);
  document.dispatchEvent(new CustomEvent("draft-replaced", { detail: { draft: current } }));
  opens = undefined;
};
const put = (draft) => {
  current = draft;
  last = {};
  if (answering) isNext = true;
  else send();
};
const isAnswer = (draft) => answering && Object.keys(BESIDE_SETTINGS).every((name) => same(current[name], draft[name]));
// Whether a draft that the desk tells is the one that was put in place here.
const hear = (draft) => {
  if (isNext) {
    isNext = false;
    send();
    return true;
  }
  if (!isAnswer(draft)) {
    record(draft);
    return false;
  }
  clearTimeout(answering);
  answering = undefined;
  current = draft;
  return true;
};
const step = (from, to) => {
  const { draft, names } = from.pop();
  to.push({ draft: current, names });
  put(draft);
  return names;
};
