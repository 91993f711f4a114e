// Everything of the explorer that is pixels: the large picture, the three maps, the words' small maps, lecture mode.

import { colourOf, drawOutline, heatPicture, labelPicture, percent, place, thinned } from "./maps.js";

const SMALL = 256;       // side of the three maps
const TINY = 64;         // side of a word's small map
const MOST_SHADE = 0.55;
const TICKS = [0, 0.05, 0.2, 0.5, 1];   // of the colour scale
const FREE_COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#7f3c8d"];

export const VIEWS = [
  { name: "image", says: () => "the image" },
  { name: "attention", short: "Aₖ of", says: (word) => `Aₖ: where it looks for “${word}”` },
  { name: "probability", short: "Sₖ of", says: (word) => `Sₖ: how probable “${word}” is` },
  { name: "cosine", short: "cosine of", says: (word) => `cosine of the VLM's patches and “${word}”` },
  { name: "map", short: "map of all words;", says: () => "the most probable word at each pixel" },
];

const THREE = ["attention", "probability", "cosine"];

// An image in another size.
function scaled(image, size) {
  const whole = new OffscreenCanvas(image.width, image.height);
  whole.getContext("2d").putImageData(image, 0, 0);
  const small = new OffscreenCanvas(size, size);
  const context = small.getContext("2d", { willReadFrequently: true });
  context.drawImage(whole, 0, 0, size, size);
  return context.getImageData(0, 0, size, size);
}

function darker(colour, share) {
  const bands = [1, 3, 5].map((i) => Math.round(parseInt(colour.slice(i, i + 2), 16) * share));
  return `#${bands.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

// A colour per word: the conventional one, a darker shade of it, or a free one; different as far as the colours go.
export function coloursOf(rows) {
  const taken = new Set();
  let free = 0;
  return rows.map(({ colour }) => {
    let chosen = colour ?? FREE_COLOURS[free++ % FREE_COLOURS.length];
    for (let share = 0.8; taken.has(chosen) && share > MOST_SHADE; share -= 0.1) {
      chosen = darker(colour ?? chosen, share);
    }
    for (let tries = 0; taken.has(chosen) && tries < FREE_COLOURS.length; tries += 1) {
      chosen = FREE_COLOURS[free++ % FREE_COLOURS.length];
    }
    taken.add(chosen);
    return chosen;
  });
}

export class Painter {
  constructor(explorer) {
    this.explorer = explorer;
    this.chips = new Map();            // word -> its chip
    this.paintScale();
    this.frames = [...explorer.root.querySelectorAll(".rsx-frame")];
    this.frames.forEach((frame) => this.listen(frame));
  }

  paintScale() {
    const context = this.explorer.root.querySelector(".rsx-scale canvas").getContext("2d");
    for (let x = 0; x < SMALL; x += 1) {
      context.fillStyle = `rgb(${colourOf((x / (SMALL - 1)) ** 2).map(Math.round)})`;
      context.fillRect(x, 0, 1, 1);
    }
    const labels = TICKS.map((tick) => {
      const label = document.createElement("span");
      label.textContent = tick;
      label.style.left = `${100 * place(tick)}%`;
      return label;
    });
    this.explorer.root.querySelector(".rsx-scale-ticks").replaceChildren(...labels);
  }

  listen(frame) {
    const { explorer } = this;
    const pixelAt = (event) => {
      const box = frame.getBoundingClientRect();
      const inside = (share) => Math.min(explorer.page.size - 1, Math.max(0, Math.floor(share * explorer.page.size)));
      return { x: inside((event.clientX - box.left) / box.width), y: inside((event.clientY - box.top) / box.height) };
    };
    frame.addEventListener("click", (event) => explorer.shown && explorer.setPixel(pixelAt(event)));
    frame.addEventListener("pointermove", (event) => {
      if (explorer.shown && event.pointerType === "mouse") {
        cancelAnimationFrame(this.soon);
        this.soon = requestAnimationFrame(() => explorer.hover(pixelAt(event)));
      }
    });
    frame.addEventListener("pointerleave", () => {
      cancelAnimationFrame(this.soon);
      explorer.hover(null);
    });
  }

  paint(word) {
    const { explorer } = this;
    const { source, words } = explorer.shown;
    if (this.source !== source) {
      this.source = source;
      this.small = scaled(source.pixels, SMALL);
      this.tiny = scaled(source.pixels, TINY);
    }
    this.colours = coloursOf(words.map((other) => explorer.row(other)));
    this.paintLarge(word);
    this.paintThree(word);
    this.paintChips(word);
    this.paintLecture(word);
  }

  // The picture of a view in the image's own size.
  picture(view, word, mapsOf = (other) => this.explorer.mapsOf(other)) {
    const { explorer } = this;
    const { pixels } = explorer.shown.source;
    const maps = mapsOf(word);
    let picture = new ImageData(pixels.data.slice(), pixels.width);
    if (view === "map") {
      picture = labelPicture(pixels, explorer.labels(mapsOf), this.colours);
    } else if (view !== "image") {
      picture = heatPicture(pixels, maps[view]);
    }
    if (explorer.showsOutline && maps.there) {
      drawOutline(picture, maps.there);
    }
    return picture;
  }

  put(frame, picture, alt) {
    const canvas = frame.querySelector("canvas");
    canvas.getContext("2d").putImageData(picture, 0, 0);
    canvas.setAttribute("aria-label", alt);
  }

  says(view, word) {
    return VIEWS.find(({ name }) => name === view).says(word);
  }

  paintLarge(word) {
    const { view } = this.explorer.look;
    this.put(this.explorer.part("large"), this.picture(view, word), this.says(view, word));
  }

  // What stands beside the large picture, in the same view. `side` is {word, mapsOf}.
  paintBeside(side, says) {
    const picture = this.besidePicture(this.explorer.look.view, side);
    this.put(this.explorer.part("large-beside"), picture, says);
  }

  besidePicture(view, { word, mapsOf }) {
    const maps = mapsOf(word);
    return this.picture(view === "attention" && !maps.attention ? "probability" : view, word, mapsOf);
  }

  paintThree(word) {
    const { explorer, small } = this;
    const maps = explorer.mapsOf(word);
    const step = explorer.page.size / SMALL;
    THREE.forEach((name) => {
      const picture = heatPicture(small, thinned(maps[name], explorer.page.size, step));
      if (explorer.showsOutline && maps.there) {
        drawOutline(picture, thinned(maps.there, explorer.page.size, step));
      }
      const figure = explorer.part(`figure-${name}`);
      figure.querySelector(".rsx-hand").textContent = word;
      this.put(figure, picture, this.says(name, word));
    });
  }

  // Chips

  chip(word) {
    if (!this.chips.has(word)) {
      const chip = document.createElement("div");
      chip.className = "rsx-chip";
      chip.innerHTML = `<button type="button" class="rsx-choose"><canvas width="${TINY}" height="${TINY}"></canvas>
        <span class="rsx-swatch"></span><b></b><small></small></button>
        <button type="button" class="rsx-away">×</button>`;
      chip.querySelector("b").textContent = word;
      chip.querySelector("b").title = word;
      chip.querySelector(".rsx-choose").addEventListener("click", () => this.explorer.chooseWord(word));
      chip.querySelector(".rsx-away").addEventListener("click", () => this.explorer.removeWord(word));
      chip.querySelector(".rsx-away").setAttribute("aria-label", `take ${word} away`);
      this.chips.set(word, chip);
    }
    return this.chips.get(word);
  }

  paintChips(word) {
    const { explorer } = this;
    const { words } = explorer.shown;
    [...this.chips.keys()].filter((other) => !words.includes(other)).forEach((other) => this.chips.delete(other));
    words.forEach((other, k) => {
      const chip = this.chip(other);
      const { attention } = explorer.mapsOf(other);
      const picture = heatPicture(this.tiny, thinned(attention, explorer.page.size, explorer.page.size / TINY));
      this.put(chip, picture, `Aₖ of ${other}`);
      chip.querySelector(".rsx-swatch").style.background = this.colours[k];
      chip.querySelector("small").textContent = `${explorer.row(other).tier}\n${explorer.qualityText(other).replace(", ", "\n")}`;
      chip.classList.toggle("rsx-chosen", other === word);
      chip.querySelector(".rsx-choose").setAttribute("aria-pressed", other === word);
    });
    const chips = words.map((other) => this.chip(other));
    const list = explorer.part("chips");
    if (chips.length !== list.children.length || chips.some((chip, i) => chip !== list.children[i])) {
      list.replaceChildren(...chips);
    }
    if (this.shownWord !== word) {
      this.shownWord = word;
      const { offsetLeft, offsetWidth } = this.chip(word);
      const last = offsetLeft + offsetWidth - list.offsetLeft - list.clientWidth;
      list.scrollLeft = Math.min(offsetLeft - list.offsetLeft, Math.max(list.scrollLeft, last));
    }
  }

  // Lecture mode

  paintLecture(word) {
    const { explorer } = this;
    if (!explorer.root.classList.contains("rsx-lecturing")) {
      return;
    }
    const view = explorer.look.view === "image" ? "attention" : explorer.look.view;
    this.paintLectureLegend(view === "map" ? explorer.shown.words : []);
    if (explorer.shown.beside) {
      this.paintLecturePair(view);
      return;
    }
    this.put(explorer.part("lecture-image"), this.picture("image", word), explorer.shown.source.title);
    this.put(explorer.part("lecture-map"), this.picture(view, word), this.says(view, word));
    explorer.part("lecture-about").textContent = `“${word}”: ${explorer.row(word).tier}, ${explorer.qualityText(word)}`;
    const threshold = view === "map" ? `, threshold ${percent(explorer.look.threshold)}` : "";
    explorer.part("lecture-caption").dataset.says = `${this.says(view, word)}${threshold}`;
  }

  // The colours of the map of all words, in the place of the keys.
  paintLectureLegend(words) {
    const entries = words.map((word, k) => {
      const swatch = document.createElement("i");
      swatch.style.background = this.colours[k];
      const entry = document.createElement("span");
      entry.append(swatch, word);
      return entry;
    });
    this.explorer.part("lecture-legend").replaceChildren(...entries);
    this.explorer.part("lecture-legend").hidden = words.length === 0;
    this.explorer.part("lecture-keys").hidden = words.length > 0;
  }

  // Comparing in lecture mode: the two maps, and what they are.
  paintLecturePair(view) {
    const { beside, part } = { beside: this.explorer.beside, part: (name) => this.explorer.part(name) };
    [[beside.left, "lecture-image", "lecture-about"], [beside.right, "lecture-map", "lecture-caption"]].forEach(
      ([side, picture, caption]) => {
        const says = beside.says(view, side);
        this.put(part(picture), this.besidePicture(view, side), says);
        const shown = view === "attention" && !side.mapsOf(side.word).attention ? "probability" : view;
        part(caption).textContent = `${VIEWS.find(({ name }) => name === shown).short} ${beside.title(side)}`;
      },
    );
  }

  // The cross at a pixel in every picture, and the numbers there.
  placeCross({ x, y }, at) {
    const { explorer } = this;
    const { size } = explorer.page;
    this.frames.forEach((frame) => {
      const cross = frame.querySelector(".rsx-cross");
      cross.hidden = false;
      cross.style.left = `${(100 * (x + 0.5)) / size}%`;
      cross.style.top = `${(100 * (y + 0.5)) / size}%`;
    });
    const maps = explorer.mapsOf(explorer.shown.word);
    THREE.forEach((name) => {
      const numbers = `here ${maps[name][at].toFixed(2)}, at most ${maps.most[name].toFixed(2)}`;
      explorer.part(`numbers-${name}`).textContent = numbers;
    });
    if (explorer.shown.beside) {
      return;
    }
    const caption = explorer.part("lecture-caption");
    const view = explorer.look.view === "image" ? "attention" : explorer.look.view;
    const here = maps[view] ? `; here ${maps[view][at].toFixed(2)}` : "";
    caption.textContent = `${caption.dataset.says ?? ""}${here}`;
  }
}
