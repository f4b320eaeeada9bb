element.addEventListener("change", ({ target }) => {
  props.value = target.value;
  document.dispatchEvent(new CustomEvent("yaml-opened"));
});
