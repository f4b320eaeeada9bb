(text, file) => {
  // The editor drops the line end of the last line.
  text = text.trimEnd() + "\n";
  const url = URL.createObjectURL(new Blob([text], { type: "application/yaml" }));
  Object.assign(document.createElement("a"), { href: url, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
