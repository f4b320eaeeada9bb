// What a sweep is asked for: two settings and their ranges, the cards, and questions that one press asks.
const place = element.querySelector(".sweep-place");
const all = (selector) => [...place.querySelectorAll(selector)];
const field = (kind, number) => place.querySelector(`[data-${kind}="${number}"]`);
const draft = () => {
  let found;
  document.dispatchEvent(new CustomEvent("draft-wanted", { detail: (held) => { found = held; } }));
  return found;
};
let asked = 0, hasForm = false, isTyped = false, awaited;

const boxes = () => all("[data-card]");
const showHeld = (card) => {
  const others = boxes().filter((box) => box.checked && box.value !== card).map((box) => box.value);
  place.querySelector(".sweep-held").textContent = [card, ...others].join(", ");
  for (const box of boxes()) {
    box.disabled = box.value === card || (!box.checked && others.length >= MOST_CARDS - 1);
    box.parentElement.classList.toggle("chosen", box.value === card);
  }
};
const fault = (sentences) => {
  for (const slot of all("[data-fault]")) {
    const said = sentences[slot.dataset.fault] ?? "";
    if (slot.textContent !== said) slot.textContent = said;
    const typed = slot.dataset.fault && field("range", slot.dataset.fault);
    if (typed && said) typed.setAttribute("aria-invalid", "true");
    else if (typed) typed.removeAttribute("aria-invalid");
  }
};
const wish = () => ({
  asked,
  axes: all("[data-axis]").map((select, number) => [select.value, field("range", number).value]),
  cards: boxes().filter((box) => box.checked).map((box) => box.value),
});
// A range without a setting is nothing; without values it is every choice that the setting has.
const fit = () => {
  for (const select of all("[data-axis]")) {
    const typed = field("range", select.dataset.axis);
    typed.disabled = !select.value;
    typed.placeholder = ["targets", "bits"].includes(select.value) ? "all there are" : "";
  }
};
const working = (isOn) => {
  place.querySelector(".sweep-stop").disabled = !isOn;
};
const run = (ready = "") => {
  // Whatever runs still is not waited for.
  const stopped = asked;
  asked += 1;
  fault({});
  working(true);
  isTyped = false;
  props.value = { ...wish(), ready, stopped };
  trigger("stop");
  document.dispatchEvent(new CustomEvent("sweep-asked", { detail: { asked, draft: draft() } }));
  trigger("run");
};
const propose = (about) => {
  isTyped = true;
  fault({});
  fit();
  if (!field("axis", about).value) {
    field("range", about).value = "";
    return;
  }
  awaited = about;
  props.value = { ...wish(), about };
  trigger("propose");
};
const open = () => {
  place.innerHTML = props.value.form;
  hasForm = true;
  place.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  place.querySelector(".sweep-stop").addEventListener("click", () => {
    props.value = { ...wish(), stopped: asked };
    trigger("stop");
  });
  fit();
  awaited = 0;
  showHeld(draft().card);
};
place.addEventListener("click", ({ target }) => {
  const ready = target.closest("[data-ready]")?.dataset.ready;
  if (ready) run(ready);
});
place.addEventListener("change", ({ target }) => {
  if (target.matches("[data-axis]")) propose(Number(target.dataset.axis));
  if (target.matches("[data-card]")) showHeld(draft().card);
});
place.addEventListener("input", ({ target }) => {
  if (!target.matches("[data-range]")) return;
  isTyped = true;
  awaited = undefined;
  fault({});
});
const openInSight = () => { if (!hasForm && element.offsetParent) trigger("open"); };
document.addEventListener("sweeps-opened", openInSight);
// What stands in a tab may come to be after the tab has told that it is open.
setTimeout(openInSight);
document.addEventListener("draft-changed", ({ detail }) => { if (hasForm) showHeld(detail.card); });
// What a question stands for is shown in the fields, and every choice that an empty range stood for; but what was
// typed since is the next question already.
document.addEventListener("sweep-told", ({ detail }) => {
  if (detail.asked !== asked) return;
  working(["planning", "running"].includes(detail.state));
  fault(detail.faults ?? {});
  if (!detail.axes || isTyped) return;
  for (const [number, select] of all("[data-axis]").entries()) {
    const [name, range] = detail.axes[number] ?? ["", ""];
    if (select.value === name && field("range", number).value === range) continue;
    select.value = name;
    field("range", number).value = range;
  }
  fit();
});
watch("value", () => {
  const { form, proposed } = props.value;
  if (form && !hasForm) open();
  if (!proposed) return;
  const [about, name, range] = proposed;
  // What was typed meanwhile stays.
  if (about !== awaited || field("axis", about).value !== name) return;
  field("range", about).value = range;
  awaited = undefined;
});
