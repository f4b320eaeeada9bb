// Puts each sentence at the field of the preview's form that it is about.
const write = (sentences, by) => {
  const panel = document.getElementById("panel-preview");
  if (!panel) return;
  for (const old of panel.querySelectorAll(`.preview-sentence[data-by="${by}"]`)) {
    for (const input of old.parentElement.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
    old.remove();
  }
  for (const [id, text] of Object.entries(sentences)) {
    const host = document.getElementById(id);
    if (!host) continue;
    const sentence = host.appendChild(Object.assign(document.createElement("p"), { className: "sentence preview-sentence", textContent: text }));
    Object.assign(sentence.dataset, { kind: "error", by });
    sentence.setAttribute("role", "status");
    for (const input of host.querySelectorAll("input:not([type=range])")) input.setAttribute("aria-invalid", "true");
  }
};
const place = () => {
  write({}, "browser");
  write(JSON.parse(element.querySelector("[data-sentences]")?.dataset.sentences ?? "{}"), element.id);
};
watch("value", place);
place();
document.addEventListener("preview-fault", ({ detail }) => write(detail, "browser"));
