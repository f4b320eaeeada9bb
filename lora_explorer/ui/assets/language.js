// Which language the page is in. For English nothing is loaded; for another one what exchanges texts and its catalogue.
// LANGUAGES: name by tag; CATALOGUES: address by tag; EXCHANGE: address of the module; KEPT: where the choice is kept.
const root = document.documentElement;

// Traditional characters are not what is offered as Chinese.
const offered = (tag) => {
  const name = tag.toLowerCase();
  if (/^zh-(tw|hk|mo|hant)/.test(name)) return undefined;
  return Object.keys(LANGUAGES).find((one) => one.split("-")[0] === name.split("-")[0]);
};
const kept = () => {
  try {
    const tag = localStorage.getItem(KEPT);
    return Object.hasOwn(LANGUAGES, tag) ? tag : undefined;
  } catch {
    return undefined;
  }
};
const keep = (tag) => {
  try {
    localStorage.setItem(KEPT, tag);
  } catch {
    // The choice holds until the page is left.
  }
};

let language = "en";
const address = (path) => new URL(path, document.baseURI);
// Gradio has words of its own, and those of the choices in its lists; it exchanges both once it is told.
const tellGradio = async () => {
  if (window.navigator.language === language) return;
  const core = performance.getEntriesByType("resource").find(({ name }) => /\/assets\/core-[\w-]+\.js$/.test(name));
  try {
    (await import(core.name)).changeLocale(language);
  } catch {
    // Only Gradio's few own words stay in the browser's language.
  }
  root.lang = language;
};
let exchangeAll;
const speak = async (tag) => {
  language = tag;
  try {
    if (tag !== "en") {
      const [exchange, answer] = await Promise.all([import(address(EXCHANGE)), fetch(address(CATALOGUES[tag]))]);
      const texts = await answer.json();
      if (language !== tag) return;
      ({ exchangeAll } = exchange);
      exchangeAll(texts);
    } else exchangeAll?.();
  } catch {
    // The server is away; the page stays as it is.
    return;
  }
  root.lang = tag;
  await tellGradio();
};

const start = kept() ?? navigator.languages.map(offered).find(Boolean) ?? "en";
root.classList.toggle("translating", start !== "en");
speak(start).finally(() => root.classList.remove("translating"));
document.addEventListener("language-wanted", ({ detail: take }) => take(language));
document.addEventListener("language-chosen", ({ detail: tag }) => {
  keep(tag);
  speak(tag);
});
