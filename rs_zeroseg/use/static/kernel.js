// The explorer in a notebook: an anywidget whose engine is the kernel (nbs/6_use/29_view.ipynb).
//
// A request is a message {id, kind, ...}; the kernel answers {id, ...} or {id, error}, with numbers in buffers. One `read`
// is on its way at a time, and behind it only the newest.

import { Explorer } from "./explorer.js";

const LIKENESSES = 5;
const PATIENCE_MS = 60_000;     // for one answer
const SILENCE = "no answer for a minute: is the kernel busy with another cell? Try again when it is free";
const MOST_KEPT = 16;           // images, through a model with some levels, whose maps are kept

function bytesOf(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

// One buffer (words, steps, cells) of 32-bit floats -> word -> {cosine, logits, and attention if the model has it}
function unpacked(words, steps, buffer) {
  const numbers = new Float32Array(bytesOf(buffer).slice().buffer);
  const cells = numbers.length / (words.length * steps.length);
  return words.map((word, k) => {
    const maps = steps.map((step, i) => {
      const start = (k * steps.length + i) * cells;
      return [step, numbers.slice(start, start + cells)];
    });
    return [word, Object.fromEntries(maps)];
  });
}

class KernelEngine {
  constructor(model) {
    this.model = model;
    this.name = `${Date.now()} ${Math.random()}`;   // of this view; another view of the same widget has another one
    this.waiting = new Map();             // id -> [resolve, reject, timer]
    this.last = 0;
    this.kept = new Map();                // image, levels and model -> {maps: word -> maps, scale, bias, threshold}
    this.onMessage = (content, buffers) => this.finish(content, buffers);
    model.on("msg:custom", this.onMessage);
  }

  stop() {
    this.model.off("msg:custom", this.onMessage);
  }

  finish({ id, error, ...answer }, buffers) {
    const [resolve, reject, timer] = this.waiting.get(id) ?? [];
    this.waiting.delete(id);
    clearTimeout(timer);
    if (error) {
      reject?.(new Error(error));
    } else {
      resolve?.({ ...answer, buffers });
    }
  }

  send(kind, request, buffers = []) {
    this.last += 1;
    const id = `${this.name} ${this.last}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.finish({ id, error: SILENCE }), PATIENCE_MS);
      this.waiting.set(id, [resolve, reject, timer]);
      this.model.send({ id, kind, ...request }, undefined, buffers);
    });
  }

  async readScene({ name, title }, size) {
    const { truth: known, buffers } = await this.send("scene", { name });
    const pixels = new ImageData(new Uint8ClampedArray(bytesOf(buffers[0])), size);
    return { name, title, pixels, truth: known ? bytesOf(buffers[1]).slice() : null };
  }

  // A kernel reads any raster by its path, and better than a browser.
  async readTiff(file) {
    throw new Error(`${file.name} is a TIFF file: open it with AttentionView(source="the path of ${file.name}")`);
  }

  read(request) {
    const result = new Promise((resolve, reject) => {
      this.next?.resolve(null);           // a newer request takes its place
      this.next = { request, resolve, reject };
    });
    this.work();
    return result;
  }

  async work() {
    if (this.working || !this.next) {
      return;
    }
    const { request, resolve, reject } = this.next;
    this.next = null;
    this.working = true;
    try {
      resolve(await this.mapsFor(request));
    } catch (error) {
      reject(error);
    }
    this.working = false;
    this.work();
  }

  async mapsFor({ name, rgba, levels, words, model }) {
    const key = `${name} ${levels} ${model}`;
    let kept = this.kept.get(key) ?? { maps: new Map() };
    const missing = words.filter((word) => !kept.maps.has(word));
    const own = name.startsWith("own-");
    const about = { name: own ? `${this.name} ${name}` : name, levels, model };
    if (missing.length > 0 || this.asked !== key) {
      const request = { ...about, words: missing };
      const { buffers, steps, ...numbers } = await this.send("read", request, own ? [rgba.slice().buffer] : []);
      const made = missing.length > 0 ? unpacked(missing, steps, buffers[0]) : [];
      kept = { maps: new Map([...kept.maps, ...made]), ...numbers };
      this.asked = key;
    }
    this.about = about;
    this.kept.delete(key);
    this.kept.set(key, { ...kept, maps: new Map([...kept.maps].filter(([word]) => words.includes(word))) });
    if (this.kept.size > MOST_KEPT) {
      this.kept.delete(this.kept.keys().next().value);
    }
    return { ...kept, maps: new Map(words.map((word) => [word, kept.maps.get(word)])) };
  }

  async likeness(x, y) {
    return (await this.send("likeness", { ...this.about, x, y, count: LIKENESSES })).words;
  }
}

async function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "rsx-notebook";
  el.append(root);
  const engine = new KernelEngine(model);
  const explorer = new Explorer(root, engine, model.get("page"), model.get("missions"));
  root.explorer = explorer;
  await explorer.begin();
  return () => engine.stop();
}

export default { render };
