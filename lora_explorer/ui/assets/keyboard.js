// An open list of choices can be scrolled and is then a stop of the keyboard's, where nothing is seen and which is gone
// when it is reached. The field it belongs to is the stop.
document.addEventListener("keydown", ({ key }) => {
  if (key === "Tab") for (const list of document.querySelectorAll("ul.options, [role=listbox]")) list.tabIndex = -1;
}, true);
