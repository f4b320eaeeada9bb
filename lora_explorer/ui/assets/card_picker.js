// The picker of cards goes back to the card it had when it is left with a name that no card has: that is said here.
const box = () => document.querySelector("#card input");
const say = (text) => {
  element.replaceChildren();
  if (!text) return;
  const sentence = Object.assign(document.createElement("p"), { className: "sentence", textContent: text });
  sentence.dataset.kind = "error";
  sentence.setAttribute("role", "status");
  element.append(sentence);
};
let typed = "";
const isKnown = () => CARDS.some((name) => name.toLowerCase().includes(typed.toLowerCase()));
const left = () => {
  if (typed && !isKnown()) {
    const name = typed.length > 40 ? `${typed.slice(0, 40)}…` : typed;
    say(`No card in the list is called ${name}; the verdict is still that of the one before.`);
  }
  typed = "";
};
document.addEventListener("input", ({ target }) => {
  if (target !== box()) return;
  typed = target.value.trim();
  say("");
}, true);
document.addEventListener("keydown", ({ target, key }) => { if (target === box() && key === "Enter") left(); }, true);
document.addEventListener("focusout", ({ target }) => { if (target === box()) left(); }, true);
document.addEventListener("draft-changed", ({ detail: { card } }) => {
  if (card !== chosen) say("");
  chosen = card;
});
