// What is done with the part of the map that is chosen. The server says which settings mean that, and they are pressed.
const fields = element.querySelector("fieldset"), title = element.querySelector(".map-chosen");
const place = element.querySelector(".map-said"), keep = element.querySelector("#map-keep-scale");
const numberOf = (act) => element.querySelector(`[data-for="${act}"]`);
let chosen, asked = 0, answered = 0, waiting, askedAbout;

const draft = () => {
  let held;
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: (now) => { held = now; } }));
  return JSON.stringify(held ?? null);
};
const ask = (edit) => {
  asked += 1;
  waiting = edit;
  askedAbout = draft();
  element.classList.add("asking");
  props.value = { ...props.value, edit, asked };
  trigger("edit");
};
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const listed = (names) => (names.length > 4 ? count(names.length, "kind") : names.join(", "));
const layersOf = ({ first, last, layers }) =>
  first === last ? `layer ${first}` : last - first + 1 === layers ? "all layers" : `layers ${first} to ${last}`;

document.addEventListener("layers-chosen", ({ detail }) => {
  chosen = detail;
  fields.disabled = !chosen;
  title.textContent = chosen ? `${listed(chosen.names)}, ${layersOf(chosen)}` : NOTHING_CHOSEN;
});
document.addEventListener("map-edit-wanted", ({ detail }) => ask(detail));
const act = (name) => {
  if (!chosen) return;
  const field = numberOf(name), value = field && field.value !== "" ? Number(field.value) : null;
  ask({ act: name, names: chosen.names, first: chosen.first, last: chosen.last, value, keep_scale: keep.checked });
};
element.addEventListener("click", ({ target }) => {
  const pressed = target.closest?.("[data-act]");
  if (pressed) act(pressed.dataset.act);
});
element.addEventListener("keydown", (event) => {
  const field = event.target.closest?.("[data-for]");
  if (event.key !== "Enter" || !field) return;
  event.preventDefault();
  act(field.dataset.for);
});
const isFault = () => Boolean(place.querySelector('[data-kind="error"]'));
watch("value", () => {
  if (props.value.answered !== asked || answered === asked) return;
  answered = asked;
  element.classList.remove("asking");
  // The settings have moved on while the server thought: what it says is about others.
  if (draft() !== askedAbout) {
    ask(waiting);
    return;
  }
  place.innerHTML = props.value.said;
  for (const field of element.querySelectorAll("[data-for]"))
    if (isFault() && waiting.act === field.dataset.for) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  place.querySelector("[data-touches]")?.click();
});
