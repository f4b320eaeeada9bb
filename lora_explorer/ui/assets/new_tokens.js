// What is typed stays in its field while what is said about it is written anew.
const details = element.querySelector("details"), title = element.querySelector("summary");
const typed = element.querySelector("input"), ways = element.querySelector(".token-ways");
let asking, hasOpened, focused;
typed.addEventListener("input", () => {
  props.value = { ...props.value, typed: typed.value };
  clearTimeout(asking);
  asking = setTimeout(() => trigger("ask"), 350);
});
document.addEventListener("draft-rested", () => trigger("ask"));
ways.addEventListener("focusin", ({ target }) => { focused = target.dataset.keep; });
document.addEventListener("focusin", ({ target }) => { if (!ways.contains(target)) focused = undefined; });
watch("value", () => {
  const { said, needed } = props.value;
  if (title.textContent !== props.value.title) title.textContent = props.value.title;
  title.toggleAttribute("data-needed", needed);
  ways.innerHTML = said;
  // A file that Axolotl would not start with opens it once.
  if (needed && !hasOpened) details.open = hasOpened = true;
  if (props.value.typed !== typed.value) props.value = { ...props.value, typed: typed.value };
  if (!focused || document.activeElement !== document.body) return;
  (ways.querySelector(`[data-keep="${CSS.escape(focused)}"]`) ?? title).focus({ preventScroll: true });
});
