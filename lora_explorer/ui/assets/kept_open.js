// What a visitor has opened stays open, and what the keyboard is at keeps it, when the text is written anew.
const open = new Set();
let focused;
element.addEventListener("toggle", ({ target }) => {
  if (target.isConnected) open[target.open ? "add" : "delete"](target.dataset.keep);
}, true);
element.addEventListener("focusin", ({ target }) => { focused = target.dataset.keep; });
element.addEventListener("focusout", () => { if (element.contains(document.activeElement)) focused = undefined; });
document.addEventListener("focusin", ({ target }) => { if (!element.contains(target)) focused = undefined; });
document.addEventListener("pointerdown", ({ target }) => { if (!element.contains(target)) focused = undefined; });
watch("value", () => {
  for (const details of element.querySelectorAll("details[data-keep]")) details.open = open.has(details.dataset.keep);
  if (!focused || document.activeElement !== document.body) return;
  const again = element.querySelector(`:is(button, summary)[data-keep="${CSS.escape(focused)}"]`);
  (again ?? element.querySelector(":is(button, summary)"))?.focus({ preventScroll: true });
});
