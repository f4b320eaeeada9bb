const list = element.querySelector("select");
document.dispatchEvent(new CustomEvent("language-wanted", { detail: (language) => (list.value = language) }));
list.addEventListener("change", () => document.dispatchEvent(new CustomEvent("language-chosen", { detail: list.value })));
