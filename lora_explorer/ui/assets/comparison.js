// Takes over from each answer what differs, so that focus, an open menu and how far the table is scrolled stay.
const root = element.querySelector(".comparison"), host = document.getElementById("comparison");
// What other scripts have put in between is theirs.
const ours = new WeakSet();
const mark = (node) => { ours.add(node); node.childNodes.forEach(mark); };
const ownChildren = (node) => [...node.childNodes].filter((child) => ours.has(child));
const KEPT = ["open", "style"];
const follow = (old, fresh) => {
  if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) return old.replaceWith(fresh);
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes])
    if (!fresh.hasAttribute(name) && !KEPT.includes(name)) old.removeAttribute(name);
  for (const { name, value } of [...fresh.attributes])
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.matches("input") && old !== document.activeElement) old.value = fresh.getAttribute("value");
  followChildren(old, fresh);
};
const followChildren = (old, fresh) => {
  const before = ownChildren(old), after = [...fresh.childNodes];
  after.forEach((child, at) => (before[at] ? follow(before[at], child) : old.append(child)));
  before.slice(after.length).forEach((child) => child.remove());
};
const show = () => {
  const fresh = document.createElement("template");
  fresh.innerHTML = props.value ?? "";
  mark(fresh.content);
  followChildren(root, fresh.content);
  host?.classList.remove("now-old");
};
watch("value", show);
show();

// A menu opens over the table, under the name that was pressed.
const WIDTH = 240, EDGE = 8;
document.addEventListener("beforetoggle", ({ target, newState }) => {
  if (newState !== "open" || !target.matches?.(".pin-menu")) return;
  const name = root.querySelector(`[popovertarget="${target.id}"]`);
  name.scrollIntoView({ block: "nearest", inline: "nearest" });
  const { left, bottom } = name.getBoundingClientRect();
  const farthest = document.documentElement.clientWidth - WIDTH - EDGE;
  Object.assign(target.style, { left: `${Math.max(EDGE, Math.min(left, farthest))}px`, top: `${bottom + 4}px` });
}, true);
