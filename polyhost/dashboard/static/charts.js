// Charts of lines over time, as SVG. The scales are text beside it, so that it can be stretched. Lines differ by color
// and by dashes, and their names and latest values are text.

import { createElement, createSvg, reconcile, setText, withParts } from "./dom.js";
import { clock } from "./format.js";

export const MOST_LINES = 8; // as many as the style sheet tells apart
const WIDTH = 600;
const HEIGHT = 120;

export function newChart(title) {
  const lines = createSvg("g");
  const grid = [0, 0.5, 1].map((share) => createSvg("line", { class: "grid", x1: 0, x2: WIDTH, y1: share * HEIGHT, y2: share * HEIGHT }));
  const svg = createSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, ...grid, lines);
  const top = createElement("span", "top");
  const bottom = createElement("span", "bottom", "0");
  const from = createElement("span");
  const to = createElement("span");
  const legend = createElement("ul", "legend");
  const plot = createElement("div", "plot", createElement("div", "scale", top, bottom), svg, createElement("div", "times", from, to));
  const figure = createElement("figure", "chart", createElement("figcaption", "", title), plot, legend);
  return withParts(figure, { title, svg, lines, top, from, to, legend });
}

/**
 * Draws lines, each with a name and `points` of a time and a value, which is null where there is none.
 * `top` is the end of the scale, if it is known; in steps, a value holds until the next point.
 */
export function drawChart(figure, lines, { from, to, format, top, steps = false }) {
  const parts = figure.parts;
  const highest = top ?? roundUp(Math.max(0, ...lines.flatMap(({ points }) => points.map(([, value]) => value ?? 0))));
  const x = (at) => ((WIDTH * (at - from)) / Math.max(1e-9, to - from)).toFixed(1);
  const y = (value) => (HEIGHT * (1 - value / highest)).toFixed(1);
  setText(parts.top, format(highest));
  setText(parts.from, clock(from));
  setText(parts.to, clock(to));
  const items = lines.map((line, number) => ({ ...line, number, latest: line.points.findLast(([, value]) => value !== null)?.[1] }));
  const described = items.map(({ name, latest }) => `${name} ${latest === undefined ? "–" : format(latest)}`);
  parts.svg.setAttribute("aria-label", `${parts.title}: ${described.join(", ") || "nothing yet"}`);
  reconcile(parts.lines, items, ({ name }) => name, () => createSvg("path"), (path, { points, number }) => {
    path.setAttribute("class", `line-${number}`);
    path.setAttribute("d", pathOf(points, x, y, steps));
  });
  reconcile(parts.legend, items, ({ name }) => name, newLegendItem, ({ parts: item }, { number, latest }) => {
    item.swatch.setAttribute("class", `line-${number}`);
    setText(item.latest, latest === undefined ? "–" : format(latest));
  });
}

function newLegendItem({ name }) {
  const swatch = createSvg("path", { d: "M0 5H22" });
  const latest = createElement("span", "latest");
  const svg = createSvg("svg", { viewBox: "0 0 22 10", "aria-hidden": "true" }, swatch);
  return withParts(createElement("li", "", svg, createElement("span", "name", name), latest), { swatch, latest });
}

function pathOf(points, x, y, steps) {
  let path = "";
  let drawing = false;
  for (const [at, value] of points) {
    if (value === null) drawing = false;
    else {
      if (!drawing) path += `M${x(at)} ${y(value)}`;
      path += steps && drawing ? `H${x(at)}V${y(value)}` : `L${x(at)} ${y(value)}`;
      drawing = true;
    }
  }
  return path;
}

/** Returns the next number that is 1, 2 or 5 times a power of ten. */
function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((digit) => value <= digit * power * (1 + 1e-9));
}
