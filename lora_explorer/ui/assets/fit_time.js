// What is typed stays in its fields while the figures beneath are written anew; those of an earlier question are marked.
const fields = [...element.querySelectorAll("input")], said = element.querySelector(".fit-said");
const typed = () => Object.fromEntries(fields.map((field) => [field.name, field.value]));
const opened = new Set(), first = Object.fromEntries(fields.map((field) => [field.name, field.placeholder]));
const old = (isOld) => said.classList.toggle("old", isOld);
let asked = 0, asking;
const ask = () => {
  clearTimeout(asking);
  asked += 1;
  props.value = { ...props.value, ...typed(), asked };
  trigger("ask");
};
element.addEventListener("input", () => {
  old(true);
  clearTimeout(asking);
  asking = setTimeout(ask, 400);
});
said.addEventListener("toggle", ({ target }) => {
  if (target.isConnected) opened[target.open ? "add" : "delete"](target.dataset.keep);
}, true);
document.addEventListener("draft-changed", () => old(true));
document.addEventListener("fit-asked", ask);
const showProblem = (field, sentence) => {
  const problem = document.getElementById(`${field.id}-problem`);
  problem.textContent = sentence;
  problem.hidden = !sentence;
  if (sentence) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
};
watch("value", () => {
  const { said: text, problems = {}, hints = {}, answered } = props.value;
  if (answered !== asked) return;
  if (text) {
    const focused = said.contains(document.activeElement) && document.activeElement.dataset.keep;
    said.innerHTML = text;
    for (const details of said.querySelectorAll("details")) details.open = opened.has(details.dataset.keep);
    if (focused) said.querySelector(`summary[data-keep="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    old(false);
  }
  for (const field of fields) {
    field.placeholder = hints[field.name] ?? first[field.name];
    showProblem(field, problems[field.name] ?? "");
  }
});
// What stands in a tab is there only once the tab is opened, which may be after it was told.
setTimeout(() => { if (!asked && element.offsetParent) ask(); }, 400);
