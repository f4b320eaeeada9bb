// Marks the lines of the editor that something is said about, and leads from a problem to its line and back. Of the
// editor only the class names are used that its makers document for themes; where they are missing nothing is marked.
const panel = element.closest("#panel-yaml");
const pane = document.getElementById("yaml-right");
const scroller = () => panel.querySelector(".cm-scroller");
const cells = () => [...panel.querySelectorAll(".cm-lineNumbers .cm-gutterElement")].filter((cell) => cell.offsetHeight);
const rows = () => [...element.querySelectorAll("[data-line]")];
const reading = () => element.querySelector(".reading");

// The numbers beside the lines are drawn anew as they scroll into view.
let marks = {};
const mark = () => {
  for (const cell of panel.querySelectorAll(".cm-lineNumbers .cm-gutterElement")) {
    const [severity, message] = marks[cell.textContent] ?? [];
    if (cell.dataset.mark === severity && cell.title === (message ?? "")) continue;
    if (severity) cell.dataset.mark = severity;
    else delete cell.dataset.mark;
    cell.title = message ?? "";
  }
};
new MutationObserver(mark).observe(panel, { childList: true, subtree: true, characterData: true });

// Where a line stands: the number at its height, and the line at the height of a number.
const middle = (node) => { const { top, height } = node.getBoundingClientRect(); return top + Math.min(height, 18) / 2; };
const spans = (node, height) => { const { top, bottom } = node.getBoundingClientRect(); return top <= height && height < bottom; };
const numberOf = (line) => Number(cells().find((cell) => spans(cell, middle(line)))?.textContent);
const lineOf = (number) => {
  const cell = cells().findLast((cell) => Number(cell.textContent) <= number);
  return cell && [...panel.querySelectorAll(".cm-line")].find((line) => spans(line, middle(cell)));
};
const frame = () => new Promise(requestAnimationFrame);
const goTo = async (number) => {
  const [first] = cells(), view = scroller();
  if (!first) return;
  // Lines out of view are not there yet.
  view.scrollTop = (number - 1) * first.offsetHeight - view.clientHeight / 3;
  await frame();
  await frame();
  const line = lineOf(number);
  if (!line) return;
  view.querySelector(".cm-content").focus({ preventScroll: true });
  document.getSelection().collapse(line, 0);
  if (matchMedia("(max-width: 760px)").matches) line.scrollIntoView({ block: "center" });
};

// What is said about the line that the cursor is on is marked, and brought into sight where the pane scrolls by itself.
let here;
const underline = () => {
  const said = rows().filter(({ dataset }) => Number(dataset.line) <= here && here <= Number(dataset.end ?? dataset.line));
  for (const row of rows()) row.classList.toggle("here", said.includes(row));
  return said[0];
};
const bringIntoSight = (row) => {
  if (pane.scrollHeight <= pane.clientHeight) return;
  const head = pane.querySelector(".reading-summary")?.getBoundingClientRect().bottom ?? 0;
  const { top, bottom } = row.getBoundingClientRect(), frame = pane.getBoundingClientRect();
  if (top < head) pane.scrollTop -= head - top + 8;
  else if (bottom > frame.bottom) pane.scrollTop += Math.min(bottom - frame.bottom + 8, top - head - 8);
};
// A whole text that is pasted leaves the cursor at its end; what is wrong with it stands first, and is to be seen.
let pasted = false;
panel.addEventListener("paste", ({ clipboardData }) => {
  pasted ||= (clipboardData?.getData("text/plain") ?? "").trim().includes("\n");
}, true);
document.addEventListener("selectionchange", () => {
  const at = document.getSelection().anchorNode;
  const line = (at?.nodeType === Node.ELEMENT_NODE ? at : at?.parentElement)?.closest("#yaml .cm-line");
  if (!line) return;
  const number = numberOf(line);
  if (!number || number === here) return;
  here = number;
  const row = underline();
  if (row && !pasted) bringIntoSight(row);
});

panel.addEventListener("click", ({ target }) => {
  const link = target.closest("[data-go]"), row = target.closest(".meanings [data-line]");
  if (link ?? row) return void goTo(Number(link?.dataset.go ?? row.dataset.line));
  const cell = target.closest(".cm-gutterElement[data-mark]");
  if (!cell) return;
  const problem = element.querySelector(`.problems [data-line="${cell.textContent}"]`);
  problem?.scrollIntoView({ block: "nearest" });
  problem?.querySelector("button")?.focus({ preventScroll: true });
});

// How many problems are left is said aloud.
const spoken = panel.appendChild(Object.assign(document.createElement("div"), { className: "sr-only" }));
spoken.setAttribute("role", "status");
const place = () => {
  marks = JSON.parse(reading()?.dataset.marks ?? "{}");
  mark();
  underline();
  if (pasted) pane.scrollTop = 0;
  pasted = false;
  const said = element.querySelector(".reading-summary")?.textContent ?? "";
  if (spoken.textContent !== said) spoken.textContent = said;
};
watch("value", place);
document.dispatchEvent(new CustomEvent("yaml-opened"));
