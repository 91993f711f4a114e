// How each word's score at a pixel comes about, from the VLM's cosine through A_k to S_k, as rows of small pictures.

import { logit, percent } from "./maps.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;                               // of a row's picture, in its own units
const HEIGHT = 22;
const LEAST = -10;                               // logits at the ends of the axis, 0.005% and 99.8%
const MOST = 6;
const TICKS = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99];
const UP = "#2b83ba";
const DOWN = "#d95f02";

function svg(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.textContent = text;
  return element;
}

function along(value) {
  const inside = Math.min(MOST, Math.max(LEAST, value));
  return ((inside - LEAST) / (MOST - LEAST)) * WIDTH;
}

function track(threshold) {
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  TICKS.forEach((tick) => {
    const x = along(logit(tick));
    picture.append(svg("line", { x1: x, x2: x, y1: 0, y2: HEIGHT, class: "rsx-tick" }));
  });
  const x = along(logit(threshold));
  picture.append(svg("line", { x1: x, x2: x, y1: 0, y2: HEIGHT, class: "rsx-threshold" }));
  return picture;
}

function step(from, to, y) {
  const [left, right] = [along(from), along(to)].sort((one, other) => one - other);
  const fill = to >= from ? UP : DOWN;
  return svg("rect", { x: left, y, width: Math.max(1, right - left), height: 7, fill });
}

function part(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

function rowOf({ word, chosen, cosine, reading, attention, probability }, threshold) {
  const picture = track(threshold);
  const a = logit(attention);
  const s = logit(probability);
  picture.append(step(reading, a, 3), step(a, s, 12));
  picture.append(svg("rect", { x: along(reading) - 1.5, y: 0, width: 3, height: 13, class: "rsx-cosine" }));
  picture.append(svg("rect", { x: along(s) - 1.5, y: 9, width: 3, height: 13, class: "rsx-end" }));

  const row = document.createElement("div");
  row.className = chosen ? "rsx-row rsx-chosen" : "rsx-row";
  row.append(part("rsx-name", word), picture);
  row.append(part("rsx-number", cosine.toFixed(2)), part("rsx-number", percent(attention)));
  row.append(part("rsx-number", percent(probability)));
  return row;
}

function axisRow() {
  const axis = document.createElement("div");
  axis.className = "rsx-row rsx-axis";
  const ticks = document.createElement("span");
  ticks.className = "rsx-ticks";
  TICKS.forEach((tick) => {
    const label = part("rsx-label", `${100 * tick}%`);
    label.style.left = `${(100 * along(logit(tick))) / WIDTH}%`;
    ticks.append(label);
  });
  axis.append(part("rsx-name", ""), ticks, part("rsx-number", "cosine"), part("rsx-number", "Aₖ"), part("rsx-number", "Sₖ"));
  return axis;
}

// Rows {word, chosen, cosine, reading (the logit that the cosine alone gives), attention, probability} -> elements.
export function waterfall(rows, threshold) {
  return [axisRow(), ...rows.map((row) => rowOf(row, threshold))];
}
