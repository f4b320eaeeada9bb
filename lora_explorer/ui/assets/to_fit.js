// The tab itself is built when it is opened for the first time, so the way there is not in its own script.
element.querySelector("button").addEventListener("click", () => {
  document.querySelector('#tabs .tab-container:not(.visually-hidden) button[data-tab-id="fit"]')?.click();
});
