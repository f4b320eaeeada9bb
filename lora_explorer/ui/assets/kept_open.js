// What a visitor has opened or closed stays so, and what the keyboard is at keeps it, when the text is written anew.
const isOpen = new Map();
const stops = () => [...element.querySelectorAll(":is(button, summary)")].filter((stop) => stop.offsetParent);
let focused, stopAt;
element.addEventListener("toggle", ({ target }) => {
  if (target.isConnected) isOpen.set(target.dataset.keep, target.open);
}, true);
element.addEventListener("focusin", ({ target }) => { [focused, stopAt] = [target.dataset.keep, stops().indexOf(target)]; });
element.addEventListener("focusout", () => { if (element.contains(document.activeElement)) focused = undefined; });
document.addEventListener("focusin", ({ target }) => { if (!element.contains(target)) focused = undefined; });
document.addEventListener("pointerdown", ({ target }) => { if (!element.contains(target)) focused = undefined; });
watch("value", () => {
  for (const details of element.querySelectorAll("details[data-keep]"))
    details.open = isOpen.get(details.dataset.keep) ?? details.open;
  if (!focused || document.activeElement !== document.body) return;
  // In place of what is gone comes what stood behind it.
  const all = stops(), again = all.find((stop) => stop.dataset.keep === focused);
  (again ?? all[Math.min(stopAt, all.length - 1)] ?? element.querySelector("[tabindex]"))?.focus({ preventScroll: true });
});
