// Hands what is to be said about memory to those who place sentences, and tells which question is answered.
watch("value", () => {
  const { sentences, asked } = element.querySelector(".memory-notes").dataset;
  document.dispatchEvent(new CustomEvent("memory-said", { detail: JSON.parse(sentences) }));
  document.dispatchEvent(new CustomEvent("memory-known", { detail: Number(asked) }));
});
