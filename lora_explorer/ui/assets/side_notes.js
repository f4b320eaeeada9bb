// Puts the sentences and facts of the side notes where they belong. All of it can be done again at no harm, because
// sections that open later bring widgets that were not there before.
const controls = document.getElementById("controls");
const style = document.head.appendChild(document.createElement("style"));

const slot = (host, selector, element, className, parent) =>
  host.querySelector(selector) ?? parent.appendChild(Object.assign(document.createElement(element), { className }));

const write = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

const mark = (host, wrong) => {
  for (const input of host.querySelectorAll("input, textarea"))
    if (wrong) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
};

// A fix that was pressed with the keyboard leaves it at the setting that was mended.
const remove = (part) => {
  const host = part?.closest(".setting"), hadFocus = part?.contains(document.activeElement);
  part?.remove();
  if (hadFocus) host.querySelector("input, textarea")?.focus({ preventScroll: true });
};

const placeFix = (sentence, said, mend) => {
  if (!said) return remove(sentence.querySelector(".fix"));
  const button = slot(sentence, ".fix", "button", "fix", sentence);
  write(button, `Fix: ${said}`);
  Object.assign(button, { type: "button" }).dataset.mend = mend;
};

const placeSentences = (sentences) => {
  for (const old of controls.querySelectorAll(".setting > .sentence"))
    if (!(old.parentElement.id in sentences)) {
      mark(old.parentElement, false);
      remove(old);
    }
  for (const [key, [severity, text, said, mend]] of Object.entries(sentences)) {
    const host = document.getElementById(key);
    if (!host) continue;
    const sentence = slot(host, ":scope > .sentence", "p", "sentence", host);
    write(slot(sentence, ":scope > span", "span", "said", sentence), text);
    placeFix(sentence, said, mend);
    sentence.dataset.kind = severity;
    mark(host, severity === "error");
  }
};

const placeFacts = (facts) => {
  for (const [group, [name, text, value]] of Object.entries(facts)) {
    const button = document.getElementById(group)?.querySelector("button");
    if (!button) continue;
    const fact = slot(button, ".group-fact", "span", "group-fact", button);
    write(fact, text);
    Object.assign(fact, { id: name }).dataset.value = value;
  }
};

const hide = (keys) => {
  style.textContent = keys.length ? `${keys.map((key) => `[id="${key}"]`)} { display: none !important; }` : "";
};

// What keeps memory unknown is told at its setting too, unless there is worse to say there.
let ofMemory = {};
const place = () => {
  const { sentences, facts, hidden } = element.querySelector(".side-notes").dataset;
  if (sentences) placeSentences({ ...ofMemory, ...JSON.parse(sentences) });
  if (facts) placeFacts(JSON.parse(facts));
  if (hidden) hide(JSON.parse(hidden));
};

watch("value", () => {
  place();
  if (element.querySelector("[data-stale]")) document.dispatchEvent(new CustomEvent("settings-at-fault"));
});
place();
document.addEventListener("memory-said", ({ detail }) => {
  ofMemory = detail;
  place();
});
// What this script adds itself is no block, so it does not call itself.
const bringsWidgets = (node) => node.nodeType === 1 && (node.matches(".block") || node.querySelector(".block"));
new MutationObserver((changes) => {
  if (changes.some((change) => [...change.addedNodes].some(bringsWidgets))) place();
}).observe(controls, { childList: true, subtree: true });
