// What is typed stays in its fields while the figures beneath are written anew.
const fields = [...element.querySelectorAll("input")], said = element.querySelector(".fit-said");
const typed = () => Object.fromEntries(fields.map((field) => [field.name, field.value]));
const opened = new Set();
let asking;
const ask = () => {
  props.value = { ...props.value, ...typed() };
  trigger("ask");
};
element.addEventListener("input", () => {
  said.firstElementChild?.classList.add("old");
  clearTimeout(asking);
  asking = setTimeout(ask, 400);
});
said.addEventListener("toggle", ({ target }) => {
  if (target.isConnected) opened[target.open ? "add" : "delete"](target.dataset.keep);
}, true);
document.addEventListener("fit-asked", ask);
watch("value", () => {
  const { said: text, problems = {} } = props.value;
  if (text) said.innerHTML = text;
  for (const details of said.querySelectorAll("details")) details.open = opened.has(details.dataset.keep);
  for (const field of fields) {
    const problem = document.getElementById(`${field.id}-problem`), sentence = problems[field.name] ?? "";
    problem.textContent = sentence;
    problem.hidden = !sentence;
    if (sentence) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
});
