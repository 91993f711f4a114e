// Two beside each other: another word, the same word without a level of MS-CAM, or in another model. One colour scale.
//
// What stands beside is {kind: "word", value: a word}, {kind: "levels", value: three numbers} or {kind: "model", value: a
// name of `page.models`}. Everything else is as on the left.

import { percent } from "./maps.js";
import { PARTS } from "./template.js";

const NUMBERS = [
  ["attention", "Aₖ"],
  ["probability", "Sₖ"],
  ["cosine", "cosine"],
];

const same = (one, other) => one.kind === other.kind && String(one.value) === String(other.value);

function cell(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function rowOf(tag, texts) {
  const row = document.createElement("tr");
  row.append(...texts.map((text, i) => cell(i === 0 ? "th" : tag, text)));
  return row;
}

export class Beside {
  constructor(explorer) {
    this.explorer = explorer;
  }

  get open() {
    return Boolean(this.explorer.wanted?.beside);
  }

  // All that can stand beside what is wanted.
  options({ words, word, levels, model }) {
    const others = words.filter((other) => other !== word);
    const parts = PARTS.map(([value, label]) => ({ kind: "levels", value: value.split(" ").map(Number), label }));
    const models = this.explorer.page.models.filter(({ name }) => name !== model);
    return [
      ...others.map((value) => ({ kind: "word", value, label: value, group: "another word" })),
      ...parts.filter(({ value }) => String(value) !== String(levels)).map((one) => ({ ...one, group: "another part" })),
      ...models.map(({ name, title }) => ({ kind: "model", value: name, label: title, group: "another model" })),
    ];
  }

  // What stands beside, or the first that can, where it is gone; null if nothing shall.
  fitting(wanted) {
    if (!wanted.beside) {
      return null;
    }
    const options = this.options(wanted);
    return options.find((option) => same(option, wanted.beside)) ?? options[0];
  }

  // Another word in hand; if it stood beside, the two change places.
  withWord({ word: before, beside }, word) {
    const changes = beside?.kind === "word" && beside.value === word && before !== word;
    return { word, beside: changes ? { ...beside, value: before, label: before } : beside };
  }

  toggle() {
    const { explorer } = this;
    if (!explorer.shown) {
      return;
    }
    if (this.open) {
      this.close();
    } else {
      explorer.missions.close();
      explorer.update({ beside: this.options(explorer.wanted)[0] }, "");
    }
  }

  close() {
    const { explorer } = this;
    if (this.open) {
      explorer.wanted.beside = null;
      explorer.shown.beside = null;
      explorer.render();
    }
  }

  choose(i) {
    const { explorer } = this;
    const option = this.options(explorer.wanted)[i];
    explorer.update({ beside: option }, `asking for ${option.label}`);
  }

  next(by) {
    const options = this.options(this.explorer.wanted);
    const at = options.findIndex((option) => same(option, this.explorer.wanted.beside ?? {}));
    this.choose((at + by + options.length) % options.length);
  }

  // What is shown on the right: its word, its maps, and what it is called.
  get right() {
    const { word, beside, besideRead } = this.explorer.shown;
    if (beside.kind === "word") {
      return { word: beside.value, mapsOf: (other) => this.explorer.mapsOf(other), where: "" };
    }
    const { threshold } = besideRead;
    return { word, mapsOf: (other) => this.explorer.besideMapsOf(other), where: beside.label, threshold };
  }

  get left() {
    const { shown, page } = this.explorer;
    const [, part] = PARTS.find(([value]) => value === shown.levels.join(" "));
    const { title } = page.models.find(({ name }) => name === shown.model) ?? page.steps.find(({ name }) => name === shown.model);
    const where = { word: "", levels: part, model: title }[shown.beside.kind];
    return { word: shown.word, mapsOf: (other) => this.explorer.mapsOf(other), where };
  }

  title({ word, mapsOf, where }) {
    const quality = this.explorer.qualityText(word, mapsOf(word)).replace(/^AP (?!of)/, "AP of Aₖ ");
    return `“${word}”${where && ` · ${where}`} · ${quality}`;
  }

  // What a view says of a side; a model without A_k shows S_k in its place.
  says(view, { word, mapsOf, where, threshold }) {
    const { explorer } = this;
    if (view === "attention" && !mapsOf(word).attention) {
      return `${where} has no Aₖ; ${explorer.painter.says("probability", word)}`;
    }
    const own = view === "map" && threshold !== undefined && threshold !== explorer.page.threshold;
    return explorer.painter.says(view, word) + (own ? `; its own threshold is ${percent(threshold)}` : "");
  }

  render() {
    const { explorer } = this;
    const { beside } = explorer.shown;
    explorer.root.classList.toggle("rsx-comparing", Boolean(beside));
    explorer.part("compare").setAttribute("aria-pressed", Boolean(beside));
    explorer.part("beside-panel").hidden = !beside;
    explorer.part("pair").hidden = !beside;
    explorer.part("large-caption").hidden = !beside;
    if (beside) {
      const { view } = explorer.look;
      this.fillList(beside);
      [[this.left, "large-caption"], [this.right, "beside-caption"]].forEach(([side, name]) => {
        explorer.part(name).replaceChildren(cell("b", this.title(side)), cell("span", this.says(view, side)));
      });
      explorer.painter.paintBeside(this.right, this.says(view, this.right));
      this.over = [this.left, this.right].map((side) => this.shareOver(side));
    }
  }

  fillList(beside) {
    const list = this.explorer.part("beside");
    const options = this.options(this.explorer.shown);
    const groups = [...new Set(options.map(({ group }) => group))].map((name) => {
      const group = document.createElement("optgroup");
      group.label = name;
      group.append(...options.filter((option) => option.group === name).map(({ label }) => new Option(label)));
      return group;
    });
    list.replaceChildren(...groups);
    list.selectedIndex = options.findIndex((option) => same(option, beside));
  }

  // The share of the image where a side's word reaches the threshold.
  shareOver({ word, mapsOf }) {
    const { probability } = mapsOf(word);
    return percent(probability.filter((value) => value >= this.explorer.look.threshold).length / probability.length);
  }

  // The numbers of both at a pixel, and of both maps.
  renderPixel(at) {
    const { shown, look } = this.explorer;
    if (!shown.beside) {
      return;
    }
    const sides = [this.left, this.right].map(({ word, mapsOf }) => mapsOf(word));
    const number = (maps, name, values) => (maps[name] ? values(maps).toFixed(2) : "none");
    const here = NUMBERS.map(([name, label]) => [`${label} here`, ...sides.map((maps) => number(maps, name, (m) => m[name][at]))]);
    const most = NUMBERS.map(([name, label]) => [`${label} at most`, ...sides.map((maps) => number(maps, name, (m) => m.most[name]))]);
    const rows = [...here, ...most, [`Sₖ over ${percent(look.threshold)}`, ...this.over]];
    this.explorer.part("pair-rows").replaceChildren(...rows.map((texts) => rowOf("td", texts)));
  }
}
