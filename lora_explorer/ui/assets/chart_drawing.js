// Draws a chart as it stands on the page, words, boxes and pictures alike, as one SVG that needs no style sheet.
const SVG = "http://www.w3.org/2000/svg";
// What a style sheet may have said of a shape, and what holds where nothing is said.
const INLINED = {
  "fill-opacity": "1", "stroke-opacity": "1", "stroke-width": "1px", "stroke-dasharray": "none", "stroke-linecap": "butt",
  "stroke-linejoin": "miter", opacity: "1", "vector-effect": "none", visibility: "visible", display: "inline",
  "paint-order": "normal",
};
const OF_WORDS = { "font-family": "", "font-size": "", "font-weight": "400", "font-style": "normal", "text-anchor": "start", "dominant-baseline": "auto" };
const PAINTS = { fill: "fill-opacity", stroke: "stroke-opacity" };

const draftsman = () => {
  const ink = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const short = (number) => Number(number.toFixed(2));
  const make = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  // Browsers know more ways to write a colour than other programs: red, green, blue and how opaque are known by all.
  const colours = new Map();
  const colourOf = (css) => {
    if (!colours.has(css)) {
      ink.clearRect(0, 0, 1, 1);
      ink.fillStyle = css;
      ink.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = ink.getImageData(0, 0, 1, 1).data;
      colours.set(css, { colour: `rgb(${red},${green},${blue})`, opacity: short(alpha / 255) });
    }
    return colours.get(css);
  };
  const paint = (css, of = "fill") => {
    const { colour, opacity } = colourOf(css);
    return opacity < 1 ? { [of]: colour, [`${of}-opacity`]: opacity } : { [of]: colour };
  };
  const frameOf = (node, origin) => {
    const { left, top, width, height } = node.getBoundingClientRect();
    return { x: short(left - origin.left), y: short(top - origin.top), width: short(width), height: short(height) };
  };

  const rounded = ({ x, y, width, height }, style) => {
    const most = Math.min(width, height) / 2;
    const [a, b, c, d] = ["TopLeft", "TopRight", "BottomRight", "BottomLeft"].map(
      (corner) => short(Math.min(parseFloat(style[`border${corner}Radius`]) || 0, most)));
    const [right, bottom] = [short(x + width), short(y + height)];
    const turn = (radius, toX, toY) => `A${radius} ${radius} 0 0 1 ${short(toX)} ${short(toY)}`;
    return `M${short(x + a)} ${y}H${short(right - b)}${turn(b, right, y + b)}V${short(bottom - c)}${turn(c, right - c, bottom)}`
      + `H${short(x + d)}${turn(d, x, bottom - d)}V${short(y + a)}${turn(a, x + a, y)}z`;
  };
  const box = (node, style, origin) => {
    const frame = frameOf(node, origin), { x, y, width, height } = frame, made = [];
    if (colourOf(style.backgroundColor).opacity && width && height)
      made.push(make("path", { d: rounded(frame, style), ...paint(style.backgroundColor) }));
    const sides = { Top: [x, y, x + width, y], Right: [x + width, y, x + width, y + height],
                    Bottom: [x, y + height, x + width, y + height], Left: [x, y, x, y + height] };
    for (const [side, [x1, y1, x2, y2]] of Object.entries(sides)) {
      const thick = parseFloat(style[`border${side}Width`]), kind = style[`border${side}Style`];
      if (!thick || kind === "none" || !colourOf(style[`border${side}Color`]).opacity) continue;
      const dashes = kind === "dashed" ? { "stroke-dasharray": `${2 * thick} ${2 * thick}` } : {};
      made.push(make("path", { d: `M${x1} ${y1}L${x2} ${y2}`, "stroke-width": thick, ...paint(style[`border${side}Color`], "stroke"), ...dashes }));
    }
    return made;
  };

  // Words that stand on one line are one text.
  const linesOf = (node) => {
    const range = document.createRange(), lines = [];
    for (const { 0: word, index } of node.data.matchAll(/\S+/g)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const { left, top, width } = range.getBoundingClientRect(), last = lines.at(-1);
      if (!width) continue;
      if (last && Math.abs(last.top - top) < 2) last.words.push(word);
      else lines.push({ left, top, words: [word] });
    }
    return lines;
  };
  const writing = (node, style, origin) => {
    ink.font = style.font;
    const rise = ink.measureText("x").fontBoundingBoxAscent;
    const look = { "font-family": style.fontFamily, "font-size": style.fontSize, "font-weight": style.fontWeight, ...paint(style.color) };
    return linesOf(node).map(({ left, top, words }) => {
      const line = make("text", { x: short(left - origin.left), y: short(top - origin.top + rise), ...look });
      line.textContent = words.join(" ");
      return line;
    });
  };

  const inlined = (from, to) => {
    const style = getComputedStyle(from);
    for (const name of ["class", "style", "id", "tabindex"]) to.removeAttribute(name);
    if (from.matches("title, desc")) return;
    const asked = { ...INLINED, ...(from.matches("text, tspan") ? OF_WORDS : {}) };
    for (const [name, usual] of Object.entries(asked)) {
      const value = style.getPropertyValue(name);
      if (value && value !== usual) to.setAttribute(name, value);
      else to.removeAttribute(name);
    }
    for (const [name, opacity] of Object.entries(PAINTS)) {
      const value = style.getPropertyValue(name);
      if (value === "none" || value.startsWith("url(")) to.setAttribute(name, value);
      else {
        const found = colourOf(value);
        to.setAttribute(name, found.colour);
        if (found.opacity < 1) to.setAttribute(opacity, short(found.opacity * Number(style.getPropertyValue(opacity) || 1)));
      }
    }
    [...from.children].forEach((child, number) => inlined(child, to.children[number]));
  };
  // Shares of the width are of what lies within the padding.
  const within = (svg, origin) => {
    const style = getComputedStyle(svg), frame = frameOf(svg, origin);
    const [left, right, top, bottom] = ["Left", "Right", "Top", "Bottom"].map((side) => parseFloat(style[`padding${side}`]) || 0);
    return { x: short(frame.x + left), y: short(frame.y + top), width: short(frame.width - left - right), height: short(frame.height - top - bottom) };
  };
  const picture = (svg, origin) => {
    const copy = svg.cloneNode(true);
    inlined(svg, copy);
    for (const name of [...copy.attributes].map((one) => one.name))
      if (/^(aria-|data-|role$|on)/.test(name)) copy.removeAttribute(name);
    for (const [name, value] of Object.entries({ ...within(svg, origin), overflow: "visible" })) copy.setAttribute(name, value);
    return [copy];
  };

  const drawn = (node, origin) => {
    if (node.nodeType === Node.TEXT_NODE) return writing(node, getComputedStyle(node.parentElement), origin);
    if (node.nodeType !== Node.ELEMENT_NODE) return [];
    const style = getComputedStyle(node);
    if (style.display === "none" || style.visibility === "hidden" || node.matches(".sr-only")) return [];
    const parts = node instanceof SVGElement ? picture(node, origin)
      : [...box(node, style, origin), ...[...node.childNodes].flatMap((child) => drawn(child, origin))];
    if (style.opacity === "1" || node instanceof SVGElement || !parts.length) return parts;
    const faint = make("g", { opacity: style.opacity });
    faint.append(...parts);
    return [faint];
  };
  return (node, title) => {
    const origin = node.getBoundingClientRect(), [width, height] = [Math.ceil(origin.width), Math.ceil(origin.height)];
    const svg = make("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}` });
    svg.append(Object.assign(make("title", {}), { textContent: title }), ...drawn(node, origin));
    return svg;
  };
};
