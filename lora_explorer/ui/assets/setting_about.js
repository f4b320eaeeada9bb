// A button at every setting, and one box over the page for what it opens. Sections that open later bring settings that
// were not there before.
const controls = document.getElementById("controls");
const box = element.querySelector(".about-box"), place = element.querySelector(".about-said");
const title = element.querySelector("h2"), key = element.querySelector(".about-key");
let opener, asked = 0, focused, refresh;

const labelOf = (host) =>
  host.querySelector('.setting-label, [data-testid="block-info"], .label-text')?.textContent.trim() ?? host.id;
const addButtons = () => {
  for (const host of controls.querySelectorAll(".block.setting[id]")) {
    if (host.querySelector(":scope > .about")) continue;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "about", textContent: "?" });
    button.ariaLabel = `What does ${labelOf(host)} change?`;
    button.ariaHasPopup = "dialog";
    host.append(button);
  }
};
const isOpen = () => box.matches(":popover-open");
const ask = () => {
  asked += 1;
  props.value = { ...props.value, setting: opener?.closest(".setting").id ?? "", asked };
  trigger("explain");
};
// Beside the setting where there is room; a phone's style sheet puts it at the foot.
const stand = () => {
  const at = opener.closest(".setting").getBoundingClientRect(), edge = 12;
  const highest = window.innerHeight - box.offsetHeight - edge;
  box.style.left = `${Math.max(Math.min(at.right + 22, window.innerWidth - box.offsetWidth - edge), edge)}px`;
  box.style.top = `${Math.max(Math.min(at.top, highest), edge)}px`;
};
const open = (button) => {
  opener = button;
  const host = button.closest(".setting");
  title.textContent = labelOf(host);
  key.textContent = host.id;
  place.replaceChildren();
  place.classList.add("old");
  if (!isOpen()) box.showPopover();
  stand();
  box.focus({ preventScroll: true });
  ask();
};
controls.addEventListener("click", ({ target }) => {
  const button = target.closest?.(".about");
  if (button) open(button);
});
element.querySelector(".about-close").addEventListener("click", () => box.hidePopover());
box.addEventListener("toggle", ({ newState }) => {
  if (newState !== "closed") return;
  const last = opener;
  opener = undefined;
  // Whoever left by pressing elsewhere stays there.
  if (document.activeElement === document.body || box.contains(document.activeElement)) last?.focus({ preventScroll: true });
  ask();
});
box.addEventListener("focusin", ({ target }) => { focused = target.dataset.keep; });
box.addEventListener("focusout", ({ relatedTarget }) => {
  if (relatedTarget && !box.contains(relatedTarget) && isOpen()) box.hidePopover();
});
watch("value", () => {
  if (props.value.answered !== asked || !opener) return;
  const hadFocus = place.contains(document.activeElement);
  place.innerHTML = props.value.said;
  place.classList.remove("old");
  if (hadFocus) (place.querySelector(`[data-keep="${CSS.escape(focused ?? "")}"]`) ?? box).focus({ preventScroll: true });
  stand();
});
// What is pressed in the box, or moved beside it, changes where everything starts from.
document.addEventListener("draft-changed", () => {
  if (!opener) return;
  place.classList.add("old");
  clearTimeout(refresh);
  refresh = setTimeout(() => { if (opener) ask(); }, 300);
});
addButtons();
const bringsWidgets = (node) => node.nodeType === 1 && (node.matches(".block") || node.querySelector(".block"));
new MutationObserver((changes) => {
  if (changes.some((change) => [...change.addedNodes].some(bringsWidgets))) addButtons();
}).observe(controls, { childList: true, subtree: true });
