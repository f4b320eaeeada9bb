// The last draft lies in the browser, so that a reload loses nothing: this tab's own, else the one last worked on.
// What is read from there is a stranger's: another shape is as if nothing had been kept.
const shelves = [() => sessionStorage, () => localStorage];
const isText = (value) => typeof value === "string";
const isTextOrNull = (value) => value === null || isText(value);
const SHAPE = {
  text: isText, card: isText, config: isText, config_for: isTextOrNull, unread: isTextOrNull,
  expandable_segments: (value) => typeof value === "boolean",
  touched: (value) => value !== null && typeof value === "object" && !Array.isArray(value),
};
const isDraft = (draft) => Object.entries(SHAPE).every(([name, fits]) => fits(draft?.[name]));
const asDraft = (draft) => Object.fromEntries(Object.keys(SHAPE).map((name) => [name, draft[name]]));

// Storage that is full or forbidden throws wherever it is touched.
const onShelf = (shelf, act) => {
  try {
    return act(shelf());
  } catch {
    return undefined;
  }
};
const readKept = () => {
  const found = shelves.map((shelf) => onShelf(shelf, (it) => JSON.parse(it.getItem(STORED_UNDER))));
  const kept = found.find((one) => isDraft(one?.draft));
  return kept && { draft: asDraft(kept.draft), link: isText(kept.link) ? kept.link : null };
};
const writeKept = (kept) => {
  const text = JSON.stringify(kept);
  for (const shelf of shelves) {
    const isWritten = onShelf(shelf, (it) => { it.setItem(STORED_UNDER, text); return true; });
    // An older draft that stayed would come back as if it were the last one.
    if (!isWritten) onShelf(shelf, (it) => it.removeItem(STORED_UNDER));
  }
};
