(text, file) => {
  const other = document.querySelector("#panel-yaml[data-other] .other-text");
  // The editor drops the line end of the last line.
  const shown = other ? other.textContent : text.trimEnd() + "\n";
  const url = URL.createObjectURL(new Blob([shown], { type: "text/plain" }));
  Object.assign(document.createElement("a"), { href: url, download: other ? other.dataset.name : file.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
