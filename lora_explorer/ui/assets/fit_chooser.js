// The card here is the card of the whole page. What takes seconds is asked only while it is in sight, and once the draft
// has rested. Until the answer to the newest question comes, what stands there is marked as old.
const select = element.querySelector("select"), press = element.querySelector(".fit-press");
select.replaceChildren(...CARDS.map((name) => new Option(name)));
select.value = FIRST;
const inSight = () => Boolean(element.offsetParent);
let asked = 0, isWanted = true, resting;
const old = (isOld) => document.getElementById("panel-fit").classList.toggle("fit-old", isOld);
const ask = () => {
  clearTimeout(resting);
  if (!isWanted || !inSight()) return;
  isWanted = false;
  asked += 1;
  props.value = { asked };
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
  isWanted = true;
  old(true);
  clearTimeout(resting);
  resting = setTimeout(ask, 700);
});
document.addEventListener("fit-told", ({ detail }) => { if (detail === asked && !isWanted) old(false); });
const opened = () => {
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: ({ card }) => { select.value = card; } }));
  ask();
};
document.addEventListener("fit-opened", opened);
// What stands in a tab is there only once the tab is opened, which on a slow machine is after it was told.
setTimeout(opened, 200);
