// The card here is the card of the whole page. What takes seconds is asked only while it is in sight, and once the draft
// has rested; until then what stands there is marked as old.
const select = element.querySelector("select"), press = element.querySelector(".fit-press");
select.replaceChildren(...CARDS.map((name) => new Option(name)));
select.value = props.value;
const inSight = () => Boolean(element.offsetParent);
let answered, now, resting;
const old = (isOld) => {
  for (const whole of document.querySelectorAll("#panel-fit .fit-whole")) whole.classList.toggle("old", isOld);
};
const ask = () => {
  clearTimeout(resting);
  if (!inSight()) return;
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: (draft) => { now = JSON.stringify(draft); } }));
  if (now === answered) return;
  answered = now;
  trigger("ask");
  document.dispatchEvent(new CustomEvent("fit-asked"));
};
select.addEventListener("change", () => {
  if (!select.value) return;
  press.dataset.touches = JSON.stringify({ card: select.value });
  press.click();
});
document.addEventListener("draft-changed", ({ detail: { card } }) => {
  if (CARDS.includes(card)) select.value = card;
  old(true);
  // Answers to an earlier draft may have ended before they were whole.
  answered = undefined;
  clearTimeout(resting);
  resting = setTimeout(ask, 700);
});
document.addEventListener("fit-opened", () => {
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: ({ card }) => { select.value = card; } }));
  ask();
});
