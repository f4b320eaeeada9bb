// The first program's file is the text that is edited; every other one's is written from the settings.
const choice = element.querySelector("select"), panel = element.closest("#panel-yaml");
watch("value", () => {
  const { programs, chosen } = props.value;
  if (choice.options.length === programs.length) return;
  choice.replaceChildren(...programs.map(([name, title]) => new Option(title, name)));
  choice.value = chosen;
});
choice.addEventListener("change", () => {
  props.value = { ...props.value, chosen: choice.value };
  panel.toggleAttribute("data-other", choice.selectedIndex > 0);
  document.dispatchEvent(new CustomEvent("yaml-opened"));
});
trigger("offer");
