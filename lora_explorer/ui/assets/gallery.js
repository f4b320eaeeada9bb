// Presets: recipes that come along, and the visitor's own, which this browser keeps and which are read like a stranger's.
const isThing = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isPreset = (it) => isThing(it) && typeof it.name === "string" && it.name.trim() && isThing(it.draft) && typeof it.draft.text === "string";
const onlyDraft = (draft) => Object.fromEntries(DRAFT.filter((name) => name in draft).map((name) => [name, draft[name]]));
let ids = 0;
const preset = ({ name, draft }) => ({ id: `own-${ids += 1}`, name: name.trim().slice(0, LONGEST), draft: onlyDraft(draft) });
const clean = (list) => (Array.isArray(list) ? list : []).filter(isPreset).slice(0, MOST).map(preset);
const stored = () => {
  try { return clean(JSON.parse(localStorage.getItem(STORED))); } catch { return []; }
};
const plain = () => own.map(({ name, draft }) => ({ name, draft }));
const keep = () => {
  try { localStorage.setItem(STORED, JSON.stringify(plain())); return true; } catch { return false; }
};
const NOT_KEPT = "This browser keeps nothing more for this page: what you saved is gone after a reload.";
const FULL = `${MOST} presets are kept already; delete one to keep another.`;

const root = element.querySelector(".gallery"), at = (selector) => root.querySelector(selector);
const tell = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
const onScreen = () => { let draft; tell(WANTED, (it) => { draft = it; }); return draft && onlyDraft(draft); };
let own = stored(), known = {}, asked = 0, file = "";

// What has just happened; what can be taken back stays until something else happens.
let silence;
const say = (text, undo) => {
  clearTimeout(silence);
  const note = at(".gallery-said");
  note.textContent = text;
  if (!text) return;
  if (undo) {
    const press = Object.assign(document.createElement("button"), { type: "button", textContent: "Undo" });
    press.addEventListener("click", () => { say(""); undo(); });
    note.append(" ", press);
  }
  silence = setTimeout(() => { if (!note.contains(document.activeElement)) say(""); }, undo ? 30000 : 7000);
};
const fault = (text) => {
  at(".own-form .sentence").textContent = text;
  at("#preset-name").toggleAttribute("aria-invalid", Boolean(text));
};

const send = () => {
  const unknown = own.filter(({ id }) => !known[id]?.figures).map(({ id, draft }) => ({ id, draft }));
  props.value = { asked, own: unknown, file };
  return unknown.length;
};
const inSight = () => element.isConnected && root.offsetParent;
const weigh = () => { if (send() && inSight()) trigger("weigh"); };

// One card a preset; those that are there stay, with what is open in them.
const cards = new Map();
const fresh = (id) => {
  const card = at("template").content.firstElementChild.cloneNode(true);
  card.dataset.own = id;
  cards.set(id, card);
  return card;
};
const write = (card, { id, name }) => {
  const { model, yaml, figures } = known[id] ?? {};
  card.querySelector("h3").textContent = name;
  for (const button of card.querySelectorAll("[data-preset-ask]")) button.ariaLabel = `${button.textContent}: ${name}`;
  if (model !== undefined) card.querySelector(".preset-model").textContent = model;
  if (yaml !== undefined) card.querySelector("code").textContent = yaml;
  if (figures !== undefined) card.querySelector(".preset-figures").innerHTML = figures;
};
const draw = () => {
  if (!at("template")) return;
  const list = at(".own-list");
  const shown = own.map((it) => { const card = cards.get(it.id) ?? fresh(it.id); write(card, it); return card; });
  for (const card of [...list.children]) if (!shown.includes(card)) card.remove();
  shown.forEach((card, place) => { if (list.children[place] !== card) list.insertBefore(card, list.children[place] ?? null); });
  at(".own-empty").hidden = own.length > 0;
  at('[data-preset-ask="export"]').disabled = !own.length;
};
const change = (list) => {
  own = list;
  const isKept = keep();
  draw();
  weigh();
  return isKept;
};
const without = (name) => own.filter((it) => it.name !== name);
const tellChange = (isKept, text, undo) => (isKept ? say(text, undo) : say(NOT_KEPT));
const save = () => {
  const field = at("#preset-name"), name = field.value.trim().slice(0, LONGEST), before = own, draft = onScreen();
  const isNew = !own.some((it) => it.name === name);
  if (!name) return fault("Type a name first.");
  if (!draft) return fault("There is nothing on screen to keep yet.");
  if (typeof draft.unread === "string") return fault("The text in the tab YAML cannot be used as it is; mend it, then save.");
  if (isNew && own.length >= MOST) return fault(FULL);
  fault("");
  field.value = "";
  const it = preset({ name, draft });
  const isKept = change(isNew ? [...own, it] : own.map((old) => (old.name === name ? it : old)));
  tellChange(isKept, isNew ? `${name} is kept.` : `${name} holds now what is on screen.`, () => change(before));
};

const download = (text, name) => {
  const href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  Object.assign(document.createElement("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
};
const fileName = (name) => `${name.normalize("NFKD").toLowerCase().replace(/[^a-z0-9.]+/g, "-").replace(/^[-.]+|[-.]+$/g, "") || "preset"}.yml`;
const read = async (chosen) => {
  if (chosen.size > MOST_BYTES) return fault(`The file is larger than ${MOST_BYTES >> 20} MiB, far more than presets need.`);
  asked += 1;
  file = await chosen.text();
  send();
  file = "";
  trigger("take");
};
const taken = ({ taken: list, fault: wrong }) => {
  const before = own, added = clean(list).filter(({ name, draft }) =>
    !own.some((it) => it.name === name && JSON.stringify(it.draft) === JSON.stringify(draft)));
  if (wrong) return fault(wrong);
  if (!added.length) return say("All of them are kept here already.");
  if (own.length + added.length > MOST) return fault(`${added.length} more presets would be more than ${MOST}; delete some first.`);
  fault("");
  for (const it of added) {
    const name = it.name;
    for (let number = 2; [...own, ...added].some((other) => other !== it && other.name === it.name); number += 1)
      it.name = `${name.slice(0, LONGEST - 5)} (${number})`;
  }
  tellChange(change([...own, ...added]), `${added.length} imported.`, () => change(before));
};

const open = (name, draft, button) => {
  const before = onScreen();
  if (!before) return;
  tell(REPLACED, { draft });
  say(`${name} is on screen now.`, () => { tell(REPLACED, { draft: before }); button.focus({ preventScroll: true }); });
};
const rename = (card, it) => {
  const title = card.querySelector("h3"), field = card.querySelector(".own-name");
  const show = (isField) => { title.hidden = isField; field.hidden = !isField; };
  const done = (isTaken, isLeft) => {
    if (field.hidden) return;
    const name = field.value.trim();
    if (isTaken && name && own.some((other) => other.id !== it.id && other.name === name)) return say(`Another preset is called ${name}.`);
    show(false);
    if (!isLeft) card.querySelector('[data-preset-ask="rename"]').focus({ preventScroll: true });
    if (!isTaken || !name || name === it.name) return;
    const before = own;
    tellChange(change(own.map((old) => (old.id === it.id ? { ...old, name } : old))), `${it.name} is called ${name} now.`, () => change(before));
  };
  field.value = it.name;
  show(true);
  field.select();
  field.focus({ preventScroll: true });
  // Whoever goes on elsewhere means the new name.
  field.onblur = () => { if (card.isConnected) done(true, true); };
  field.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    done(event.key === "Enter");
  };
};
const ACTS = {
  open: (card, it, button) => {
    if (it) return open(it.name, it.draft, button);
    // The card to hold it against stays.
    const text = card.querySelector("code").textContent;
    open(card.querySelector("h3").textContent, { ...onScreen(), text, touched: {}, unread: null }, button);
  },
  rename,
  file: (card, it) => {
    const yaml = known[it.id]?.yaml;
    if (yaml === undefined) return say("It is being read; try again in a moment.");
    download(`${yaml.trimEnd()}\n`, fileName(it.name));
  },
  delete: (card, it) => {
    const before = own, place = own.indexOf(it);
    change(own.filter((other) => other !== it));
    say(`${it.name} is deleted.`, () => { change(before); cards.get(it.id)?.querySelector("button").focus({ preventScroll: true }); });
    (cards.get(own[Math.min(place, own.length - 1)]?.id)?.querySelector("button") ?? at("#preset-name")).focus({ preventScroll: true });
  },
  export: () => download(`${JSON.stringify({ format: FORMAT, version: VERSION, presets: plain() }, null, 1)}\n`, "lora-explorer-presets.json"),
  import: () => at("input[type=file]").click(),
};
root.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-preset-ask]"), card = button?.closest(".preset");
  if (button) ACTS[button.dataset.presetAsk](card, own.find(({ id }) => id === card?.dataset.own), button);
});
root.addEventListener("submit", (event) => { event.preventDefault(); save(); });
root.addEventListener("change", ({ target }) => {
  if (!target.matches("input[type=file]") || !target.files[0]) return;
  read(target.files[0]);
  target.value = "";
});
root.addEventListener("input", ({ target }) => {
  if (target.matches("#preset-name")) fault("");
  if (!target.matches("[type=search]")) return;
  const wanted = target.value.toLowerCase().split(/[\s,]+/).filter(Boolean), all = [...at("#presets-list").children];
  for (const card of all) card.hidden = !wanted.every((word) => card.textContent.toLowerCase().includes(word));
  const found = all.filter((card) => !card.hidden).length;
  at(".gallery-count").textContent = wanted.length ? `${found || "none"} of ${all.length}` : "";
});

const markOpened = ({ text } = onScreen() ?? {}) => {
  for (const card of root.querySelectorAll("[data-preset]")) card.classList.toggle("opened", card.querySelector("code").textContent === text);
};
const build = (page) => {
  root.innerHTML = page;
  draw();
  markOpened();
};
watch("value", () => {
  const { page, figures, described = {}, answered, ...rest } = props.value ?? {};
  if (page && !root.firstChild) build(page);
  for (const [id, html] of Object.entries(figures ?? {})) {
    const place = root.querySelector(`[data-preset="${CSS.escape(id)}"] .preset-figures`);
    if (place && place.dataset.is !== html) { place.innerHTML = html; place.dataset.is = html; }
    if (!place) known[id] = { ...known[id], figures: html };
  }
  for (const [id, said] of Object.entries(described)) known[id] = { ...known[id], ...said };
  if (answered === asked && rest.taken) { send(); taken(rest); }
  else if (figures) { draw(); send(); }
});
const opened = () => {
  if (!inSight()) return;
  if (!root.firstChild) trigger("offer");
  weigh();
};
document.addEventListener("presets-opened", opened);
document.addEventListener(CHANGED, ({ detail }) => markOpened(detail));
// Another tab of this browser has changed them.
window.addEventListener("storage", ({ key }) => {
  if (key !== STORED) return;
  own = stored();
  draw();
  weigh();
});
opened();
