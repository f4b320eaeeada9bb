// Every text is written in English, by whom it may be; those that a catalogue knows are exchanged here, before they are
// painted. What somebody else wrote (YAML, code, data, answers of a model) stands in elements that say translate=no.
const ATTRIBUTES = ["placeholder", "title", "aria-label", "data-heading", "label"];
const VERBATIM = '[translate="no"], textarea, pre, code, samp, kbd, .cm-editor, script, style';

// A catalogue: whole texts, and sentences with {} where values stand, those with most words of their own first.
const WORDS = /[A-Za-z]{2}/;
const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const patternOf = ([english, said]) => {
  const parts = english.split("{}");
  // A value that is put right behind a word may be empty.
  const value = (part, most) => `${escaped(part)}(.${/\S$/.test(part) ? "*" : "+"}${most})`, own = parts.join("");
  const whole = (most) => `^${parts.slice(0, -1).map((part) => value(part, most)).join("")}${escaped(parts.at(-1))}$`;
  const letters = own.replace(/[^A-Za-z]/g, "").length;
  // What divides the values may stand in one of them: it is looked for from the front, then from the back.
  const ways = ["?", ""].map((most) => new RegExp(whole(most), "s"));
  return { ways, said, first: parts[0], last: parts.at(-1), letters, length: own.length };
};
const open = (texts) => {
  const entries = Object.entries(texts);
  const patterns = entries.filter(([english]) => english.includes("{}")).map(patternOf);
  patterns.sort((one, other) => other.letters - one.letters || other.length - one.length);
  return { texts: new Map(entries), patterns, known: new Map() };
};

let catalogue;
const BETWEEN_SENTENCES = /(?<=[.?…]) (?=\S)/;
const MOST_SENTENCES = 4;
const FIGURE = "(?:[−+≥≈]?[\\d.,]+%?|[×%✓≈✗⊘●]|[KMGT]iB|bytes)";
const FIGURES_FIRST = new RegExp(`^((?:${FIGURE} )+)(.+)$`, "s");
const FIGURES_LAST = new RegExp(`^(.+?)((?: ${FIGURE})+)$`, "s");
const fill = (said, values) => {
  let next = 0;
  return said.replace(/\{(\d*)\}/g, (_, number) => values[number === "" ? next++ : Number(number)]);
};
// A sentence of few words of its own holds figures, names, code and what the catalogue knows; else it is another one.
const isOfFewWords = ({ letters }) => letters < 8;
const CODE = /_|\.[a-z]|[[\]{}]/;
const NAME = /^[A-Z].*\d/;
const isPart = (value, said) =>
  CODE.test(value) ||
  (!value.includes(" · ") && (!WORDS.test(value) || value !== said || NAME.test(value) || !/\s/.test(value.trim())));
const isSentence = (pattern, values, said) =>
  !values.some((value) => BETWEEN_SENTENCES.test(value)) &&
  (!isOfFewWords(pattern) || values.every((value, number) => isPart(value, said[number]))) &&
  (pattern.letters > 0 || values.some((value, number) => value !== said[number]));
const ofPattern = (text) => {
  for (const pattern of catalogue.patterns) {
    if (!text.startsWith(pattern.first) || !text.endsWith(pattern.last)) continue;
    for (const way of pattern.ways) {
      const values = way.exec(text)?.slice(1), said = values?.map(translated);
      if (values && isSentence(pattern, values, said)) return fill(pattern.said, said);
    }
  }
  return undefined;
};
// Figures stay where they are, before or behind the words that they are of.
const ofFigures = (text) => {
  const [, before, words] = FIGURES_FIRST.exec(text) ?? [], [, name, behind] = FIGURES_LAST.exec(text) ?? [];
  return before ? before + inLanguage(words) : behind && inLanguage(name) + behind;
};
// What stands between the parts of a list is a key as well; names of cards are parts that stay.
const between = (sign) => {
  const said = catalogue.texts.get(sign.trim());
  return said && (/\w/.test(sign) ? ` ${said} ` : said);
};
const isKnown = (part, said) => part !== said || !WORDS.test(part) || NAME.test(part);
const ofList = (text, sign) => {
  const parts = text.split(sign), said = parts.map((part) => (parts.length > 1 ? inLanguage(part) : part));
  const isWhole = parts.length > 1 && said.every((one, number) => isKnown(parts[number], one));
  return isWhole ? said.join(between(sign)) : undefined;
};
// The most sentences in a row that are known as one, then what follows them.
const ofSentences = (text) => {
  const sentences = text.split(BETWEEN_SENTENCES), said = [];
  while (sentences.length) {
    const first = sentences.slice(0, MOST_SENTENCES);
    const rows = first.map((_, number) => sentences.slice(0, number + 1).join(" ")).reverse();
    const known = rows.find((row) => row !== text && (catalogue.texts.has(row) || ofPattern(row))) ?? sentences[0];
    said.push(inLanguage(known));
    sentences.splice(0, known.split(BETWEEN_SENTENCES).length);
  }
  // They end with a mark that is as wide as a space.
  return said.join(" ").replace(/(?<=[。？]) /g, "");
};
const ofParts = (text) => {
  if (text.includes(" · ")) return text.split(" · ").map(inLanguage).join(" · ");
  return BETWEEN_SENTENCES.test(text) ? ofSentences(text) : ofList(text, "; ") ?? ofList(text, ", ") ?? ofList(text, " and ");
};
// A sentence may go on behind its end.
const ofOpenEnd = (text) => (/[.?…:]$/.test(text) ? undefined : ofPattern(`${text}.`)?.replace(/[。.]$/, ""));
const found = (text) =>
  catalogue.texts.get(text) ?? catalogue.texts.get(text[0].toLowerCase() + text.slice(1)) ??
  ofPattern(text) ?? ofOpenEnd(text) ?? ofParts(text) ?? ofFigures(text) ?? text;
const inLanguage = (text) => {
  if (!WORDS.test(text)) return text;
  const { known } = catalogue;
  if (known.size > 5000) known.clear();
  if (!known.has(text)) known.set(text, found(text));
  return known.get(text);
};
// Space around a text stays, and the comma of one that goes on.
const translated = (text) => {
  const [, before, words, behind] = /^([\s,]*)(.*?)(\s*)$/s.exec(text);
  const lead = before.includes(",") && catalogue ? between(",") : before;
  return catalogue && words ? lead + inLanguage(words.replace(/\s+/g, " ")) + behind : text;
};

// What stood there in English, and what was put in its place: a text that is neither was written since.
const before = new WeakMap();
const exchange = (owner, name, now, put) => {
  const all = before.get(owner) ?? {}, old = all[name];
  const english = old?.said === now ? old.english : now, said = translated(english);
  if (said === english && !old) return;
  before.set(owner, { ...all, [name]: { english, said } });
  if (said !== now) put(said);
};
const isVerbatim = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest(VERBATIM);
const exchangeText = (node) => exchange(node, "text", node.data, (said) => (node.data = said));
// A sentence with code in it is one text, which its element holds beside its parts.
const inParts = (sentence) => sentence.split("`").map((part, number) =>
  number % 2 ? Object.assign(document.createElement("code"), { textContent: part }) : part);
const exchangeSentence = (element) => {
  const { sentence } = element.dataset, said = translated(sentence);
  const last = before.get(element)?.sentence?.said ?? sentence;
  if (said === last) return;
  before.set(element, { ...before.get(element), sentence: { english: sentence, said } });
  element.replaceChildren(...inParts(said));
};
const exchangeAttributes = (element) => {
  if (element.dataset.sentence) exchangeSentence(element);
  for (const name of ATTRIBUTES)
    if (element.hasAttribute(name))
      exchange(element, name, element.getAttribute(name), (said) => element.setAttribute(name, said));
};
const walk = (node) => {
  if (node.nodeType === 3) return isVerbatim(node) || exchangeText(node);
  if (node.nodeType !== 1 || isVerbatim(node)) return;
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, (one) =>
    one.nodeType === 1 && one.matches(VERBATIM) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  for (let one = node; one; one = walker.nextNode()) one.nodeType === 3 ? exchangeText(one) : exchangeAttributes(one);
};
const watcher = new MutationObserver((changes) => {
  for (const { type, target, addedNodes } of changes)
    if (type === "childList") addedNodes.forEach(walk);
    else if (!isVerbatim(target)) type === "characterData" ? exchangeText(target) : exchangeAttributes(target);
});
const WATCHED = { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES };

// Puts the page into the language of these texts; without any, back into English.
export const exchangeAll = (texts) => {
  catalogue = texts && open(texts);
  walk(document.body);
  watcher.observe(document.body, WATCHED);
};
