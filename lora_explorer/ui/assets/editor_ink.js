// The colours of the editor's words are Gradio's, and on white some are too pale to read: each gets as much of the
// page's ink as it takes. And what can be scrolled by keyboard is told to be a stop of the keyboard's.
{
  const ENOUGH = 4.6, STEPS = 20;
  const editor = document.getElementById("yaml");
  const sheet = document.head.appendChild(document.createElement("style"));
  const seen = new Set();
  const channels = (colour) => (colour.match(/[\d.]+/g) ?? [0, 0, 0]).slice(0, 3).map(Number);
  const brightness = (colour) => colour.map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const contrast = (...colours) => {
    const [low, high] = colours.map(brightness).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const paperUnder = (node) => {
    const colour = getComputedStyle(node).backgroundColor;
    return !node.parentElement || !/^rgba\(.* 0\)$/.test(colour) ? channels(colour) : paperUnder(node.parentElement);
  };
  const mixed = (one, other, share) => one.map((part, at) => Math.round(part * (1 - share) + other[at] * share));
  const look = () => {
    const content = editor.querySelector(".cm-content");
    if (!content?.offsetParent) return;
    if (!content.hasAttribute("tabindex")) content.tabIndex = 0;
    const style = getComputedStyle(document.body);
    for (const word of content.querySelectorAll(".cm-line [class]")) {
      if (seen.has(word.className)) continue;
      seen.add(word.className);
      const own = channels(getComputedStyle(word).color), ink = channels(style.color);
      const paper = paperUnder(content);
      const shares = Array.from({ length: STEPS + 1 }, (_, step) => step / STEPS);
      const readable = shares.map((share) => mixed(own, ink, share)).find((colour) => contrast(colour, paper) >= ENOUGH) ?? ink;
      const names = [...word.classList].map((name) => `.${CSS.escape(name)}`).join("");
      sheet.textContent += `#yaml .cm-line ${names} { color: rgb(${readable}); }\n`;
    }
  };
  new MutationObserver(look).observe(editor, { childList: true, subtree: true });
  document.addEventListener("yaml-opened", look);
  look();
}
