// The tab itself is built when it is opened for the first time, so the way there is not in its own script.
element.querySelector("button").addEventListener("click", () => {
  document.dispatchEvent(new CustomEvent("tab-wanted", { detail: "fit" }));
});
