// The editor drops the line end of the last line.
await toClipboard(text.trimEnd() + "\n", document.getElementById("copy-yaml"));
