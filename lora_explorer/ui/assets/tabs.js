// Which tab is chosen, and choosing one, by their ids: their names are in the visitor's language.
// Those that find no room stand in a menu without an id. Gradio measures every name, hidden and in TAB_IDS' order.
const measured = () => [...document.querySelectorAll("#tabs .tab-container.visually-hidden > button")];
const inMenu = (tab) => TAB_IDS[measured().findIndex((one) => one.textContent === tab.textContent)];
const idOf = (tab) => tab.dataset.tabId ?? inMenu(tab);
const TABS = "#tabs [role=tab], #tabs .overflow-dropdown button";
const open = (id) => {
  const tab = [...document.querySelectorAll(TABS)].find((one) => idOf(one) === id);
  tab?.click();
  return Boolean(tab);
};

// The menu is filled once Gradio has measured the names, which may be after the page asks for one of them.
let waiting;
document.addEventListener("tab-wanted", ({ detail: id }) => {
  waiting?.disconnect();
  if (open(id)) return;
  waiting = new MutationObserver(() => { if (open(id)) waiting.disconnect(); });
  waiting.observe(document.getElementById("tabs"), { childList: true, subtree: true });
});
document.addEventListener("click", ({ target }) => {
  const tab = target.closest?.(TABS), id = tab && idOf(tab);
  if (!id) return;
  waiting?.disconnect();
  document.dispatchEvent(new CustomEvent("tab-chosen", { detail: id }));
}, true);
