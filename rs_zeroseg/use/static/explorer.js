// The attention explorer's view. An engine (engine.js) runs the model; everything that is seen is made here.
//
// Two states: `wanted` is what was asked for, `shown` what is on the page. A request's answer becomes `shown` as a whole,
// or, when a newer request was made since, is forgotten. So numbers, pictures and captions always belong together.

import { Beside } from "./beside.js";
import { averagePrecision, bestWords, CHANCE_STEP, finished, largest, percent, thinned } from "./maps.js";
import { Missions } from "./missions.js";
import { Painter, VIEWS } from "./painter.js";
import { handleKey, KEYS } from "./shortcuts.js";
import { readImageFile } from "./sources.js";
import { TEMPLATE } from "./template.js";
import { waterfall } from "./waterfall.js";

const MOST_WORDS = 24;
const MOST_CHARACTERS = 100;
const UNKNOWN_TIER = "not in the vocabulary";
const SLOW_MS = 150;             // a control that takes longer shows that it is busy

export class Explorer {
  constructor(root, engine, page, missions) {
    Object.assign(this, { root, engine, page, turn: 0, pixel: null, hovered: null });
    this.finishedMaps = new Map();       // word -> its maps in the image's size
    this.finishedBeside = new Map();     // the same of what stands beside, where another part or model made it
    this.scenes = new Map();             // name -> promise of the scene
    this.look = { view: "attention", threshold: page.threshold, outline: true };
    this.rows = new Map(page.words.map((row) => [row.word, row]));
    root.classList.add("rsx");
    root.innerHTML = TEMPLATE;
    root.tabIndex = 0;
    this.beside = new Beside(this);
    this.painter = new Painter(this);
    this.missions = new Missions(this.part("mission"), this, missions);
    this.fillLists();
    this.connect();
  }

  part(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  // What a word is

  row(word) {
    return this.rows.get(word) ?? { word, tier: UNKNOWN_TIER, names: [], colour: null };
  }

  // Which pixels a word names: 1 or 0 for each; null where the truth is not known or the word names no category.
  truthOf(word) {
    const { truth } = this.shown.source;
    const names = this.row(word).names.map((name) => this.page.categories.indexOf(name));
    return truth && names.length > 0 ? truth.map((category) => (names.includes(category) ? 1 : 0)) : null;
  }

  mapsOf(word) {
    return this.finish(word, this.shown.read, this.finishedMaps);
  }

  // The maps of a word that another part or another model made.
  besideMapsOf(word) {
    return this.finish(word, this.shown.besideRead, this.finishedBeside);
  }

  // A model without A_k has its average precision from S_k.
  finish(word, read, kept) {
    if (!kept.has(word)) {
      const { grid, size } = this.page;
      const maps = finished(read.maps.get(word), grid, size);
      const there = this.truthOf(word);
      const few = (values) => thinned(values, size, CHANCE_STEP);
      const quality = there && averagePrecision(few(maps.attention ?? maps.probability), few(there));
      const most = Object.fromEntries(Object.entries(maps).map(([name, values]) => [name, largest(values)]));
      kept.set(word, { ...maps, there, quality, most });
    }
    return kept.get(word);
  }

  // Requests

  async update(change, doing, look = {}) {
    const wanted = { ...this.wanted, ...change };
    this.wanted = { ...wanted, beside: this.beside.fitting(wanted) };
    this.turn += 1;
    const { turn } = this;
    let before = {};
    this.setBusy(doing);
    try {
      const besideRead = await this.readBeside();
      const read = turn === this.turn && (await this.read({}));      // the last one that is read answers for pixels
      if (turn === this.turn && read) {
        before = { shown: this.shown, pixel: this.pixel, look: { ...this.look } };
        Object.assign(this.look, look);
        this.commit(read, besideRead);
      }
    } catch (error) {
      this.takeBack(turn, error, before);
    }
    if (turn === this.turn) {
      this.setBusy("");
    }
  }

  // What is wanted, or that with another model or other levels, from the engine.
  read(other) {
    const { source, levels, words, model } = { ...this.wanted, ...other };
    return this.engine.read({ name: source.name, rgba: source.pixels.data, levels, words, model });
  }

  readBeside() {
    const { kind, value } = this.wanted.beside ?? { kind: "word" };
    return kind === "word" ? null : this.read({ [kind]: value });
  }

  commit(read, besideRead) {
    const { source, levels, model } = this.shown ?? {};
    const same = source === this.wanted.source && model === this.wanted.model;
    if (!same || String(levels) !== String(this.wanted.levels)) {
      this.finishedMaps.clear();
      this.likeness = null;
    }
    if (source !== this.wanted.source) {
      this.pixel = null;
    }
    this.finishedBeside.clear();
    this.shown = { ...this.wanted, read, besideRead };
    this.finishedMaps.forEach((_, word) => read.maps.has(word) || this.finishedMaps.delete(word));
    this.tell("");
    this.pixel ??= this.brightest(this.shown.word);
    this.render();
    this.readLikeness();
  }

  // Back to what was shown before; `before` is empty if nothing has changed yet.
  takeBack(turn, error, before) {
    if (turn === this.turn) {
      Object.assign(this, before);
      this.wanted = this.shown ?? this.wanted;
      this.finishedMaps.clear();
      this.finishedBeside.clear();
      this.fillLists();
      if (this.shown) {
        this.render();
      }
      this.tell(`That did not work: ${error.message}. What you see is as before.`);
    }
  }

  // The other scenes, and the text encoder, which words beyond the vocabulary need, come while the first picture is
  // looked at.
  async getReadyForAnyWord() {
    this.part("encoder").textContent = "Fetching the text encoder (23 MB), which other words need …";
    try {
      await Promise.all(this.page.scenes.map(({ name }) => this.sceneNamed(name)));
      await this.engine.anyWord();
      this.part("encoder").textContent = "Ready for any word; the network is not needed any more.";
    } catch (error) {
      this.part("encoder").textContent = `Only words of the vocabulary can be asked: ${error.message}`;
    }
  }

  setBusy(doing) {
    clearTimeout(this.soon);
    this.root.setAttribute("aria-busy", Boolean(doing));
    this.part("busy").textContent = "";
    if (doing) {
      this.soon = setTimeout(() => {
        this.part("busy").textContent = `${doing} …`;
      }, SLOW_MS);
    }
  }

  tell(message) {
    this.part("error").textContent = message;
  }

  // What the controls ask for

  async begin() {
    const [first] = this.page.scenes;
    await this.open({ scene: first.name, words: first.words, levels: [1, 1, 1], model: "" });
    if (this.missions.faults.length > 0) {
      this.tell(this.missions.faults.join("; "));
    }
  }

  async open({ scene, words, word, levels, threshold, view, model }) {
    const look = { ...(threshold && { threshold }), ...(view && { view }) };
    const change = { ...(words && { words, word: word ?? words[0] }), ...(levels && { levels }) };
    if (model !== undefined) {
      change.model = model;
    }
    const source = scene ? this.sceneNamed(scene) : this.wanted.source;
    await this.updateSource(source, change, "reading the image", look);
  }

  // A source takes a while; of several that were asked for the last one counts. `look` changes with it.
  async updateSource(getting, change, doing, look = {}) {
    this.lastSource = getting;
    this.setBusy(doing);
    try {
      const source = await getting;
      if (this.lastSource === getting) {
        await this.update({ ...change, source }, doing, look);
      }
    } catch (error) {
      if (this.lastSource === getting) {
        this.setBusy("");
        this.tell(error.message);
      }
    }
    this.fillLists();
  }

  // Each scene is fetched once.
  sceneNamed(name) {
    if (!this.scenes.has(name)) {
      const reading = this.engine.readScene(this.page.scenes.find((scene) => scene.name === name), this.page.size);
      reading.catch(() => this.scenes.delete(name));
      this.scenes.set(name, reading);
    }
    return this.scenes.get(name);
  }

  chooseScene(name) {
    const { words } = this.page.scenes.find((scene) => scene.name === name);
    this.updateSource(this.sceneNamed(name), { words, word: words[0] }, "reading the scene");
  }

  chooseFile(file) {
    if (file) {
      this.updateSource(readImageFile(file, this.page.size, this.engine.readTiff), {}, `reading ${file.name}`);
    }
  }

  addWords(text) {
    if (!this.shown) {
      return null;
    }
    const given = text.split(",").map((word) => word.trim().toLowerCase().split(/\s+/).join(" ")).filter(Boolean);
    const words = [...new Set([...this.wanted.words, ...given])];
    const long = given.find((word) => word.length > MOST_CHARACTERS);
    if (given.length === 0) {
      this.tell("Type a word first, for example: lagoon");
    } else if (long) {
      this.tell(`“${long.slice(0, 20)}…” has ${long.length} characters: at most ${MOST_CHARACTERS}`);
    } else if (words.length > MOST_WORDS) {
      this.tell(`${words.length} words: at most ${MOST_WORDS}; take one away first`);
    } else {
      this.part("add").reset();
      return this.update({ words, word: given[0] }, `asking about ${given.join(", ")}`);
    }
    return null;
  }

  removeWord(word) {
    const words = this.wanted.words.filter((other) => other !== word);
    if (words.length === 0) {
      this.tell("The last word stays: add another one first");
      return;
    }
    const removing = this.update({ words, word: this.wanted.word === word ? words[0] : this.wanted.word }, "");
    removing.then(() => this.keepKeys());
  }

  // A control that had the keyboard and is gone gives it to the page around, whose keys do other things.
  keepKeys() {
    if (document.activeElement === document.body) {
      this.root.focus({ preventScroll: true });
    }
  }

  chooseWord(word) {
    if (this.wanted.words.includes(word)) {        // not so while other words are on their way
      this.wanted = { ...this.wanted, ...this.beside.withWord(this.wanted, word) };
    }
    if (this.shown.read.maps.has(word)) {
      Object.assign(this.shown, this.beside.withWord(this.shown, word));
      this.render();
    }
  }

  chooseStep(name) {
    return this.update({ model: name }, "reading the image with this step");
  }

  nextStep(by) {
    const names = this.page.steps.map(({ name }) => name);
    const next = names[names.indexOf(this.wanted.model) + by];
    if (next !== undefined) {
      this.chooseStep(next);
    }
  }

  nextWord(step) {
    const { words, word } = this.shown;
    this.chooseWord(words[(words.indexOf(word) + step + words.length) % words.length]);
  }

  setLook(change) {
    Object.assign(this.look, change);
    if (this.shown) {
      this.render();
    }
  }

  // A pixel

  brightest(word) {
    const { attention } = this.mapsOf(word);
    const best = attention.indexOf(this.mapsOf(word).most.attention);
    return { x: best % this.page.size, y: Math.floor(best / this.page.size) };
  }

  setPixel(pixel) {
    this.pixel = pixel;
    this.hovered = null;
    this.renderPixel();
    this.readLikeness();
  }

  movePixel(dx, dy) {
    const inside = (value) => Math.min(this.page.size - 1, Math.max(0, value));
    this.setPixel({ x: inside(this.pixel.x + dx), y: inside(this.pixel.y + dy) });
  }

  hover(pixel) {
    this.hovered = pixel;
    this.renderPixel();
    this.readLikeness();
  }

  // What is read: the pixel under the mouse, else the one that was clicked.
  get at() {
    return this.hovered ?? this.pixel;
  }

  // The engine is asked about one pixel at a time, the newest.
  async readLikeness() {
    if (this.asking || !this.shown) {
      return;
    }
    this.asking = true;
    const { at: pixel, shown } = this;
    try {
      const words = await this.engine.likeness(pixel.x, pixel.y);
      this.likeness = { pixel, source: shown.source, words };
    } catch (error) {
      this.tell(error.message);
      return;
    } finally {
      this.asking = false;
    }
    if (pixel !== this.at || shown.source !== this.shown.source) {
      this.readLikeness();
    } else {
      this.renderPixel();
    }
  }

  // Numbers for missions: what `name` is for a word in what is shown.
  measure(name, word, other) {
    const share = (values, wanted) => percent(values.filter(wanted).length / values.length);
    const measures = {
      ap: () => percent(this.mapsOf(word).quality.ap / 100),
      chance: () => percent(this.mapsOf(word).quality.chance / 100),
      max: () => percent(this.mapsOf(word).most.probability),
      over: () => share(this.mapsOf(word).probability, (value) => value >= this.look.threshold),
      taken: () => {
        const there = this.truthOf(other);
        const k = this.shown.words.indexOf(word);      // -1 for "none", as in the labels
        return share(this.labels().filter((_, i) => there[i]), (label) => label === k);
      },
    };
    return measures[name]();
  }

  predicting(yes) {
    const before = this.root.classList.contains("rsx-predict");
    this.root.classList.toggle("rsx-predict", yes);
    if (before && !yes && this.shown) {
      this.render();                               // the outline comes back
    }
  }

  labels(mapsOf = (word) => this.mapsOf(word)) {
    const probabilities = this.shown.words.map((word) => mapsOf(word).probability);
    return bestWords(probabilities, this.look.threshold);
  }

  // What is seen

  render() {
    const { source, words, word } = this.shown;
    const absent = words.filter((other) => this.isAbsent(other));
    const told = absent.length === 1 ? "Of the words one is not in it:" : "Not in it:";
    const there = absent.length === 0 ? "" : ` ${told} ${absent.join(", ")}.`;
    this.part("about").textContent = `You see ${source.title}.${there}`;
    this.painter.paint(word);
    this.beside.render();
    this.renderHead(word);
    this.renderPixel();
    this.part("threshold").value = this.look.threshold;
    this.part("threshold-value").textContent = percent(this.look.threshold);
    this.part("outline").checked = this.look.outline;
    this.renderStep(word);
  }

  // Which step of a training is shown, with what A_k of the word is worth there.
  renderStep(word) {
    const { steps } = this.page;
    const at = steps.findIndex(({ name }) => name === this.shown.model);
    this.part("steps").hidden = steps.length === 0;
    if (at >= 0) {
      this.part("step").value = at;
      this.part("step").setAttribute("aria-valuetext", steps[at].title);
      this.part("step-value").textContent = `${steps[at].title}: ${word}, ${this.qualityText(word)}`;
    }
  }

  // Is a word of the vocabulary known not to be in the scene?
  isAbsent(word) {
    return Boolean(this.shown.source.truth) && this.rows.has(word) && !this.mapsOf(word).quality;
  }

  qualityText(word, { quality, attention } = this.mapsOf(word)) {
    if (quality) {
      const of = attention ? "" : " of Sₖ";
      return `AP${of} ${Math.round(quality.ap)}%, chance ${percent(quality.chance / 100)}`;
    }
    return this.isAbsent(word) ? "not in this scene" : "truth not known";
  }

  get showsOutline() {
    return this.look.outline && !this.root.classList.contains("rsx-predict");
  }

  renderHead(word) {
    this.part("word").textContent = word;
    this.part("word-about").textContent = `${this.row(word).tier} · ${this.qualityText(word)}`;
    VIEWS.forEach(({ name }) => {
      this.part(`view-${name}`).setAttribute("aria-pressed", this.look.view === name);
    });
  }

  renderPixel() {
    if (!this.shown || !this.pixel) {
      return;
    }
    const pixel = this.at;
    const at = pixel.y * this.page.size + pixel.x;
    const rows = this.shown.words.map((word) => {
      const maps = this.mapsOf(word);
      const [cosine, attention, probability] = [maps.cosine[at], maps.attention[at], maps.probability[at]];
      const reading = this.shown.read.scale * cosine + this.shown.read.bias;
      return { word, chosen: word === this.shown.word, cosine, reading, attention, probability };
    });
    rows.sort((one, other) => other.probability - one.probability);
    const threshold = this.look.threshold;
    this.part("waterfall").replaceChildren(...waterfall(rows, threshold));
    this.part("pixel-at").textContent = `Pixel ${pixel.x}, ${pixel.y}${this.truthAt(at)}`;
    this.renderLikeness(pixel);
    this.beside.renderPixel(at);
    this.painter.placeCross(pixel, at);
  }

  truthAt(at) {
    const { truth } = this.shown.source;
    return truth ? `, in truth ${this.page.categories[truth[at]] ?? "nothing named"}` : "";
  }

  renderLikeness(pixel) {
    const fits = this.likeness && this.likeness.pixel === pixel && this.likeness.source === this.shown.source;
    const told = fits ? this.likeness.words.map(([word, cosine]) => `${word} ${cosine.toFixed(2)}`).join(", ") : "…";
    this.part("likeness").textContent = `To the VLM it looks like: ${told}`;
  }

  // Controls

  fillLists() {
    const scenes = this.page.scenes.map(({ name, title }) => new Option(title, name));
    const source = this.wanted?.source;
    if (source && !this.page.scenes.some(({ name }) => name === source.name)) {
      scenes.unshift(new Option(source.title, source.name));
    }
    this.part("scene").replaceChildren(...scenes);
    this.part("scene").value = source?.name ?? this.page.scenes[0].name;
    this.part("levels").value = (this.wanted?.levels ?? [1, 1, 1]).join(" ");
    this.part("step").max = this.page.steps.length - 1;
  }

  toggleLecture() {
    if (!this.shown) {
      return;
    }
    const begins = this.root.classList.toggle("rsx-lecturing");
    if (begins) {
      this.root.requestFullscreen?.().catch(() => {});      // without it the page's own area is filled
    } else if (document.fullscreenElement) {
      document.exitFullscreen();
    }
    this.root.querySelectorAll(":scope > header, :scope > main, :scope > footer").forEach((under) => {
      under.inert = begins;                        // Tab finds nothing that is not seen
    });
    this.missions.close();
    this.part("help").hidden = true;
    this.root.focus();
    this.painter.paint(this.shown.word);
    this.renderPixel();
  }

  toggleMissions() {
    if (!this.shown) {
      return;
    }
    if (this.root.classList.contains("rsx-lecturing")) {
      this.toggleLecture();
    }
    if (this.missions.open) {
      this.missions.close();
    } else {
      this.beside.close();
      this.missions.start(0);
    }
    this.root.focus();
  }

  toggleHelp() {
    this.part("help").hidden = !this.part("help").hidden;
  }

  connect() {
    const on = (name, kind, action) => this.part(name).addEventListener(kind, action);
    on("scene", "change", ({ target }) => this.chooseScene(target.value));
    on("levels", "change", ({ target }) => this.update({ levels: target.value.split(" ").map(Number) }, "reading the image"));
    on("file", "change", ({ target }) => {
      this.chooseFile(target.files[0]);
      target.value = "";
    });
    on("add", "submit", (event) => {
      event.preventDefault();
      this.addWords(this.part("new-word").value);
    });
    on("threshold", "input", ({ target }) => this.setLook({ threshold: Number(target.value) }));
    on("outline", "change", ({ target }) => this.setLook({ outline: target.checked }));
    on("missions", "click", () => this.toggleMissions());
    on("lecture", "click", () => this.toggleLecture());
    on("compare", "click", () => this.beside.toggle());
    on("beside", "change", ({ target }) => this.beside.choose(target.selectedIndex));
    on("step", "input", ({ target }) => this.chooseStep(this.page.steps[target.value].name));
    on("keys", "click", () => this.toggleHelp());
    VIEWS.forEach(({ name }) => on(`view-${name}`, "click", () => this.setLook({ view: name })));
    this.part("help").querySelector("dl").innerHTML = KEYS.map(({ keys, does }) => `<dt>${keys}</dt><dd>${does}</dd>`).join("");
    this.root.dataset.lmSuppressShortcuts = "true";         // JupyterLab hears keys before anybody else
    this.root.addEventListener("keydown", (event) => handleKey(this, event));
    this.root.addEventListener("fullscreenchange", () => {  // Esc is the browser's own key then
      if (!document.fullscreenElement && this.root.classList.contains("rsx-lecturing")) {
        this.toggleLecture();
      }
    });
    this.root.addEventListener("dragover", (event) => event.preventDefault());
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      this.chooseFile(event.dataTransfer.files[0]);
    });
  }
}

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) {
    throw new Error(`${name}: the server answered ${answer.status}`);
  }
  return answer.json();
}

// The page without a kernel: everything lies beside this module.
export async function showPage(root, engine) {
  try {
    const [page, missions] = await Promise.all([fetched("page.json"), fetched("missions.json"), engine.start()]);
    const explorer = new Explorer(root, engine, page, missions);
    await explorer.begin();
    explorer.getReadyForAnyWord();
    return explorer;
  } catch (error) {
    root.textContent = `The explorer cannot start: ${error.message}. Serve this folder by a web server, for example `
      + "python -m http.server, and open it in a current Chrome, Edge, Firefox or Safari.";
    throw error;
  }
}
