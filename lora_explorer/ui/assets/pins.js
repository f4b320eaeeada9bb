// Keeps the pinned configurations. What lies in the browser's storage is read like a stranger's.
const isThing = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isPin = (pin) => isThing(pin) && typeof pin.name === "string" && isThing(pin.draft) && typeof pin.draft.text === "string";
const onlyDraft = (draft) => Object.fromEntries(DRAFT.filter((name) => name in draft).map((name) => [name, draft[name]]));
const clean = (list) => (Array.isArray(list) ? list : []).filter(isPin).slice(0, MOST)
  .map(({ name, draft }) => ({ name: name.trim().slice(0, LONGEST), draft: onlyDraft(draft) }));
const stored = () => {
  try { return clean(JSON.parse(localStorage.getItem(STORED))); } catch { return []; }
};

let pins = stored(), version = 0, asked = 0, gone;
const proposed = new Set();
const button = element.querySelector("#pin"), note = element.querySelector(".pin-said");
const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
const onScreen = () => { let draft; tell(WANTED, (it) => { draft = it; }); return draft && onlyDraft(draft); };

// What has just happened, under the button; what can be taken back stays until something else happens.
let silence;
const say = (text, undo) => {
  clearTimeout(silence);
  note.textContent = text;
  if (!text) return;
  if (undo) {
    const press = Object.assign(document.createElement("button"), { type: "button", textContent: "Undo" });
    press.addEventListener("click", undo);
    note.append(" ", press);
  } else silence = setTimeout(() => say(""), 7000);
};

const send = () => { props.value = { pins, asked, version }; };
const keep = () => {
  try {
    localStorage.setItem(STORED, JSON.stringify(pins));
    return true;
  } catch { return false; }
};
const count = () => { element.querySelector(".pin-count span").textContent = pins.length; };

// The table comes at once, from what is known; what takes seconds is asked for when nothing has changed for a while.
const root = () => document.getElementById("comparison");
const inSight = () => root()?.offsetParent;
let waiting, resting, last = -Infinity;
const askNow = () => {
  waiting = undefined;
  last = performance.now();
  if (!inSight()) return;
  asked += 1;
  send();
  trigger("table");
  clearTimeout(resting);
  resting = setTimeout(() => { if (inSight()) trigger("figures"); }, 450);
};
const ask = () => { waiting ??= setTimeout(askNow, Math.max(60, last + 300 - performance.now())); };

const change = (list) => {
  pins = list;
  version += 1;
  send();
  count();
  const isKept = keep();
  tell(PINS_CHANGED, pins.map((pin) => ({ ...pin })));
  if (pins.some((pin) => !pin.name)) trigger("name");
  ask();
  return isKept;
};
const NOT_KEPT = "This browser keeps nothing more for this page: the pins are gone after a reload.";
const FULL = `${MOST} configurations are pinned already; drop one in Compare to pin another.`;
const add = (pin, at = pins.length) => {
  if (pins.length >= MOST) { say(FULL); return false; }
  const isKept = change([...pins.slice(0, at), pin, ...pins.slice(at)]);
  const where = inSight() ? "" : " Compare shows them side by side.";
  say(isKept ? `Pinned: ${pins.length} of ${MOST}.${where}` : NOT_KEPT);
  return true;
};
// The server proposes names for those that have none.
watch("value", () => {
  const { names, version: about } = props.value;
  if (!Array.isArray(names)) return;
  send();
  if (about !== version) return;
  const named = pins.map((pin, at) => (pin.name ? pin : { ...pin, name: String(names[at] ?? "") }));
  for (const [at, { name }] of named.entries()) if (!pins[at].name) proposed.add(name);
  if (named.every(({ name }) => name)) change(named);
});

const menu = (at) => document.getElementById(`pin-menu-${at}`);
const close = () => document.querySelector(".pin-menu:popover-open")?.hidePopover();
const focusOn = (...keeps) => {
  for (const name of keeps) {
    const found = root()?.querySelector(`[data-keep="${name}"]:not([disabled])`);
    if (found) return found.focus({ preventScroll: true });
  }
  button.focus({ preventScroll: true });
};
const free = (name) => {
  let number = 2;
  while (pins.some((pin) => pin.name === `${name} (${number})`)) number += 1;
  return `${name} (${number})`.slice(-LONGEST);
};
const move = (from, to) => {
  if (to < 0 || to >= pins.length) return;
  const list = [...pins];
  list.splice(to, 0, ...list.splice(from, 1));
  change(list);
  close();
  menu(to)?.showPopover();
  const way = to < from ? ["left", "right"] : ["right", "left"];
  setTimeout(() => focusOn(...way.map((name) => `${name}-${to}`)));
};
const ACTS = {
  pin: () => {
    const draft = onScreen();
    if (draft && add({ name: "", draft })) trigger("remember");
  },
  use: (at) => {
    // All are held against one card, so that one stays; then the figures of the column are those of the headline.
    const now = onScreen();
    tell(REPLACED, { draft: { ...now, ...pins[at].draft, card: now.card, expandable_segments: now.expandable_segments } });
    say(`${pins[at].name} is on screen now.`);
    focusOn(`name-${at}`);
  },
  update: (at) => {
    const before = pins, draft = onScreen();
    if (!draft) return;
    const name = proposed.has(pins[at].name) ? "" : pins[at].name;
    close();
    change(pins.map((pin, place) => (place === at ? { name, draft } : pin)));
    say(`${before[at].name} holds now what is on screen.`, () => { change(before); say(""); focusOn(`name-${at}`); });
    focusOn(`name-${at}`);
  },
  copy: (at) => {
    close();
    if (add({ ...pins[at], name: free(pins[at].name) }, at + 1)) setTimeout(() => focusOn(`name-${at + 1}`, `name-${at}`), 250);
  },
  left: (at) => move(at, at - 1),
  right: (at) => move(at, at + 1),
  drop: (at) => {
    const dropped = pins[at];
    close();
    change(pins.filter((_, place) => place !== at));
    say(`${dropped.name} is dropped.`, () => {
      if (pins.length >= MOST) return say(FULL);
      change([...pins.slice(0, at), dropped, ...pins.slice(at)]);
      say("");
      setTimeout(() => focusOn(`name-${at}`), 250);
    });
    focusOn(`name-${Math.min(at, pins.length - 1)}`);
  },
};
document.addEventListener("click", ({ target }) => {
  const pressed = target.closest?.("[data-pin-ask]");
  if (!pressed) return;
  const at = Number(pressed.dataset.pin ?? 0);
  if (pressed.dataset.pinAsk === "pin" || pins[at]) ACTS[pressed.dataset.pinAsk]?.(at);
});
document.addEventListener("change", ({ target }) => {
  const at = target.dataset?.pinName;
  if (at === undefined || !pins[at]) return;
  const name = target.value.trim().slice(0, LONGEST);
  if (name === pins[at].name) return;
  proposed.delete(pins[at].name);
  change(pins.map((pin, place) => (place === Number(at) ? { ...pin, name } : pin)));
});
document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  if (key !== "Enter" || target.dataset?.pinName === undefined) return;
  // Else it would press the button that has the focus then.
  event.preventDefault();
  target.blur();
  close();
  focusOn(`name-${target.dataset.pinName}`);
});

document.addEventListener(PINS_WANTED, ({ detail: take }) => take(pins.map((pin) => ({ ...pin }))));
document.addEventListener(PINS_REPLACED, ({ detail }) => { change(clean(detail)); say(""); });
document.addEventListener(PIN_ADDED, ({ detail }) => {
  const [pin] = clean([{ name: "", ...detail }]);
  if (pin) add(pin);
});
document.addEventListener("compare-opened", ask);
document.addEventListener(CHANGED, () => {
  if (!inSight()) return;
  root().classList.add("now-old");
  ask();
});
// Another tab of this browser has changed them.
window.addEventListener("storage", ({ key }) => {
  if (key !== STORED) return;
  pins = stored();
  version += 1;
  send();
  count();
  tell(PINS_CHANGED, pins.map((pin) => ({ ...pin })));
  ask();
});
send();
count();
if (pins.some((pin) => !pin.name)) trigger("name");
