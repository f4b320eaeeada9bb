// Of the drawings only that is in sight which the map's chosen kind has in its chosen layer; the first one where that is
// not adapted.
let kind, layer;
const isOpen = new Map();
element.addEventListener("toggle", ({ target }) => { if (target.isConnected) isOpen.set("table", target.open); }, true);
const show = () => {
  const drawn = [...element.querySelectorAll(".matrix")];
  const ofKind = drawn.filter((one) => one.dataset.row === kind);
  const wanted = ofKind.find((one) => JSON.parse(one.dataset.layers).includes(layer)) ?? ofKind[0] ?? drawn[0];
  for (const one of drawn) {
    one.hidden = one !== wanted;
    one.querySelector("details").open = isOpen.get("table") ?? false;
  }
};
document.addEventListener("kind-chosen", ({ detail }) => {
  ({ kind, layer } = detail);
  show();
});
watch("value", show);
