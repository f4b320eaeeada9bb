// Keeps what a visitor chose for the next run, and whose browser this is. Everything else about runs is the server's.
const OWNER = "lora-explorer.owner", RUN = "lora-explorer.run", TAB = "lora-explorer.tab", FORM = "lora-explorer.preview-form.1";
const kept = (storage, key) => {
  try { return window[storage].getItem(key); } catch { return null; }
};
const keep = (storage, key, value) => {
  // A browser may close its storage to a page; then only a reload forgets.
  try { window[storage].setItem(key, value); } catch { /* nothing to keep it in */ }
};
const stored = (key) => kept("localStorage", key), store = (key, value) => keep("localStorage", key, value);
const newSecret = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const ownSecret = () => {
  const known = stored(OWNER);
  if (/^[0-9a-f]{32}$/.test(known ?? "")) return known;
  const fresh = newSecret();
  store(OWNER, fresh);
  return fresh;
};
const owner = ownSecret();
const set = (changes) => { props.value = { ...props.value, ...changes, owner }; };
const attach = () => { set({}); trigger("attach"); };

// Which fields are there is a matter of what is chosen in others.
const style = document.head.appendChild(document.createElement("style"));
const fit = () => {
  const { data } = props.value.form;
  const hidden = [...(data === "hub" ? [] : ["preview-dataset"]), ...(data === "upload" ? [] : ["preview-upload-row"])];
  style.textContent = hidden.map((id) => `#${id} { display: none !important; }`).join(" ");
};
fit();

let resting;
const inSight = () => document.getElementById("panel-preview")?.offsetParent;
const prepare = (wait_ms) => {
  if (!inSight()) return;
  for (const waiting of ["preview-plan-card", "preview-rows"]) document.getElementById(waiting)?.classList.add("pending");
  clearTimeout(resting);
  resting = setTimeout(() => { if (inSight()) trigger("prepare"); }, wait_ms);
};
const touch = (name, value) => {
  set({ form: { ...props.value.form, [name]: value } });
  // A file that was sent is chosen again after a reload.
  keep("sessionStorage", FORM, JSON.stringify({ ...props.value.form, upload: "" }));
  fit();
  prepare(400);
};
const formAgain = () => {
  let form;
  try { form = JSON.parse(kept("sessionStorage", FORM)); } catch { /* what cannot be read is as if nothing were kept */ }
  if (!form || typeof form !== "object") return;
  set({ form: { ...props.value.form, ...form } });
  fit();
  trigger("fill");
};
document.addEventListener("preview-touched", ({ detail: { name, value } }) => touch(name, value));
document.addEventListener("setting-touched", () => prepare(900));
document.addEventListener("preview-opened", () => setTimeout(() => prepare(0), 60));
document.addEventListener("preview-ready", () => { formAgain(); attach(); });
// After a lost connection Gradio loads the page again: whoever watched a run goes on watching it.
const openTab = (id) => document.dispatchEvent(new CustomEvent("tab-wanted", { detail: id }));
document.addEventListener("tab-chosen", ({ detail: id }) => keep("sessionStorage", TAB, id));
document.addEventListener("preview-ready", () => {
  const tab = kept("sessionStorage", TAB);
  if (["preview", "history"].includes(tab)) openTab(tab);
});
// Another tab of this browser has started or opened a run.
window.addEventListener("storage", ({ key }) => { if (key === RUN) attach(); });
document.addEventListener("preview-shown", ({ detail: { run, status } }) => {
  if (["waiting", "running"].includes(status) && stored(RUN) !== run) store(RUN, run);
});

// Buttons in lists of runs: what they ask, about which run.
const ASKS = ["open", "remove"];
document.addEventListener("click", ({ target }) => {
  const button = target.closest?.("[data-run-ask]");
  if (!button) return;
  const { runAsk, run } = button.dataset;
  if (runAsk === "remove" && button.dataset.sure === undefined) {
    // Deleting cannot be undone: the first press asks, the second does.
    button.dataset.sure = "";
    button.textContent = "Delete for good?";
    setTimeout(() => { delete button.dataset.sure; button.textContent = "Delete"; }, 4000);
    return;
  }
  set({ asked: run });
  if (ASKS.includes(runAsk)) trigger(runAsk);
  if (runAsk === "open") openTab("preview");
});
// One click from what random weights cannot show to weights that can learn.
document.addEventListener("click", ({ target }) => {
  const weights = target.closest?.("[data-choose-weights]")?.dataset.chooseWeights;
  if (!weights) return;
  touch("weights", weights);
  trigger("fill");
  document.getElementById("preview-start")?.focus({ preventScroll: true });
});
const boxes = () => [...document.querySelectorAll("[data-run-pick]")];
const bound = () => {
  const full = props.value.picked.length >= MOST_RUNS;
  for (const box of boxes()) box.disabled = full && !box.checked;
};
document.addEventListener("change", ({ target }) => {
  if (!target.matches?.("[data-run-pick]")) return;
  set({ picked: boxes().filter((box) => box.checked).map((box) => box.dataset.runPick) });
  bound();
  trigger("overlay");
});
document.addEventListener("runs-listed", () => {
  for (const box of boxes()) box.checked = props.value.picked.includes(box.dataset.runPick);
  bound();
});

// A file that is too large is refused before it is sent.
document.addEventListener("change", (event) => {
  const { target } = event;
  if (!target.matches?.("#preview-upload-row input[type=file]")) return;
  const file = target.files[0];
  if (!file || file.size <= MOST_FILE_BYTES) return;
  event.stopImmediatePropagation();
  event.preventDefault();
  target.value = "";
  const size = (file.size / 1e6).toLocaleString("en", { maximumFractionDigits: 1 });
  const most = (MOST_FILE_BYTES / 1e6).toLocaleString("en", { maximumFractionDigits: 1 });
  document.dispatchEvent(new CustomEvent("preview-fault", {
    detail: { "preview-data": `${file.name} has ${size} MB; at most ${most} MB are read here.` },
  }));
}, true);
