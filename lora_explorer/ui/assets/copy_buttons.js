element.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button) toClipboard(button.dataset.copy ?? element.querySelector(".other-text").textContent, button);
});
