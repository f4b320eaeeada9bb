element.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-copy]");
  if (button) toClipboard(button.dataset.copy, button);
});
