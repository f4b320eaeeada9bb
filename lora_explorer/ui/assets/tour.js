// A walk over the page. What it tells about is marked without moving anything, and everything stays usable meanwhile.
const offer = element.querySelector(".tour-offer"), box = element.querySelector(".tour-box");
const back = box.querySelector(".tour-back"), next = box.querySelector(".tour-next"), count = box.querySelector(".tour-count");
const isOpen = () => box.matches(":popover-open");
const wasToured = () => { try { return localStorage.getItem(TOURED) !== null; } catch { return true; } };
const remember = () => {
  offer.hidden = true;
  try { localStorage.setItem(TOURED, "1"); } catch { /* Where nothing may be kept, nothing was offered. */ }
};

const seen = (selector) => [...document.querySelectorAll(selector)].find((it) => it.checkVisibility?.() ?? it.offsetParent);
const firstTab = () => document.querySelector('#tabs [role="tab"]');
const frame = () => new Promise(requestAnimationFrame);
let opener, stops = [], place = 0, marked = [];

const unmark = () => { for (const it of marked) delete it.dataset.tourHere; marked = []; };
// Beside what is told about where there is room, else where the window ends; a phone's style sheet puts it at the foot.
const GAP = 14, EDGE = 12;
const stand = () => {
  if (!marked.length || !isOpen()) return;
  const at = marked[0].getBoundingClientRect(), { offsetWidth: width, offsetHeight: height } = box;
  const { clientWidth, clientHeight } = document.documentElement;
  const inWidth = (x) => Math.max(EDGE, Math.min(x, clientWidth - width - EDGE));
  const inHeight = (y) => Math.max(EDGE, Math.min(y, clientHeight - height - EDGE));
  const [left, top] = [
    at.right + GAP + width + EDGE <= clientWidth && [at.right + GAP, inHeight(at.top)],
    at.bottom + GAP + height + EDGE <= clientHeight && [inWidth(at.left), at.bottom + GAP],
    at.left - GAP - width >= EDGE && [at.left - GAP - width, inHeight(at.top)],
    at.top - GAP - height >= EDGE && [inWidth(at.left), at.top - GAP - height],
    [clientWidth - width - EDGE, clientHeight - height - EDGE],
  ].find(Boolean);
  Object.assign(box.style, { left: `${left}px`, top: `${top}px` });
};
let standing;
const standSoon = () => { standing ??= requestAnimationFrame(() => { standing = undefined; stand(); }); };

// Stops that have gone since are passed over.
const goTo = async (to, step = 1) => {
  let found;
  while (stops[to]) {
    found = seen(stops[to].marks[0]);
    if (!found) { firstTab()?.click(); await frame(); await frame(); found = seen(stops[to].marks[0]); }
    if (found) break;
    to += step;
  }
  if (!found || !isOpen()) return found || step < 0 ? undefined : close();
  place = to;
  unmark();
  marked = stops[to].marks.map(seen).filter(Boolean);
  for (const it of marked) it.dataset.tourHere = "";
  box.querySelector("h2").textContent = stops[to].title;
  box.querySelector("p").textContent = stops[to].text;
  count.textContent = COUNT.replace("{number}", to + 1).replace("{count}", stops.length);
  back.disabled = to === 0;
  next.textContent = to === stops.length - 1 ? DONE : NEXT;
  const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const isTall = found.offsetHeight > innerHeight / 2;
  found.scrollIntoView({ block: isTall ? "start" : "center", inline: "nearest", behavior: isCalm ? "instant" : "smooth" });
  stand();
};
const start = async (by) => {
  opener = by;
  remember();
  if (!seen("#panel-memory")) { firstTab()?.click(); await frame(); await frame(); }
  stops = STOPS.filter(({ marks }) => seen(marks[0]));
  if (!stops.length) return;
  if (!isOpen()) box.showPopover();
  goTo(0);
  next.focus({ preventScroll: true });
};
const close = () => {
  if (!isOpen()) return;
  const hadFocus = box.contains(document.activeElement) || document.activeElement === document.body;
  box.hidePopover();
  unmark();
  if (hadFocus) (opener?.checkVisibility?.() ? opener : again).focus({ preventScroll: true });
};

const go = (step) => {
  if (step > 0 && place === stops.length - 1) return close();
  goTo(place + step, step);
};
next.addEventListener("click", () => go(1));
back.addEventListener("click", () => { go(-1); if (back.disabled) next.focus({ preventScroll: true }); });
box.querySelector(".tour-close").addEventListener("click", close);
document.addEventListener("keydown", (event) => {
  if (!isOpen() || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") close();
  else if (box.contains(document.activeElement) && event.key === "ArrowRight") go(1);
  else if (box.contains(document.activeElement) && event.key === "ArrowLeft" && place) go(-1);
  else return;
  event.preventDefault();
});
addEventListener("scroll", standSoon, { passive: true, capture: true });
addEventListener("resize", standSoon);

offer.querySelector(".tour-take").addEventListener("click", ({ target }) => start(target));
offer.querySelector(".tour-dismiss").addEventListener("click", () => {
  remember();
  // The keyboard goes on from where the offer stood.
  (seen('#tabs [role="tab"][aria-selected="true"]') ?? again).focus({ preventScroll: true });
});
// From the foot of the page it can be had at any time.
const again = Object.assign(document.createElement("button"), { type: "button", className: "tour-again", textContent: AGAIN });
again.addEventListener("click", () => start(again));
(document.querySelector("footer") ?? element).append(again);
offer.hidden = wasToured() || /(^#|&)c=/.test(location.hash);
