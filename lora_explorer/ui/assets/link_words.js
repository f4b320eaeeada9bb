// What is said about a link: shown under the buttons until it is closed, and spoken.
const panel = element.querySelector(".link-said"), spoken = element.querySelector(".link-spoken");
const speak = (words) => { spoken.textContent = words; };
const hush = () => { panel.hidden = true; };
const say = (words, { items = [], isBad = false, link = "", pins = null } = {}) => {
  const [sentence, field, list] = ["p", "input", "ul"].map((name) => panel.querySelector(name));
  sentence.textContent = words;
  list.replaceChildren(...items.map((item) => Object.assign(document.createElement("li"), { textContent: item })));
  list.hidden = !items.length;
  Object.assign(field, { value: link, hidden: !link });
  panel.querySelector('[data-tool="bring-back"]').hidden = !pins;
  panel.toggleAttribute("data-bad", isBad);
  panel.hidden = false;
  speak([words, ...items].join(" "));
  if (!link) return;
  field.focus({ preventScroll: true });
  field.select();
};
const toClipboard = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without https the clipboard is closed to scripts; the old way may still work.
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    return isCopied;
  }
};
