// The engine of the page without a kernel: it hands requests to the worker that runs the model.
//
// What a view needs of an engine: `readTiff(file, size)` -> {pixels, said}; `readScene(scene, size)` -> {name, title, pixels, truth}; `read({name, rgba, levels,
// words, model})` -> {maps: word -> maps, scale, bias} or null if a newer request took its place; `likeness(x, y)` of the
// image that was read last -> [[word, cosine]].

import { readScene } from "./sources.js";
import { readTiff, tiffLibrary } from "./tiff.js";

const LIKENESSES = 5;

export class WorkerEngine {
  constructor() {
    this.waiting = new Map();      // id -> [resolve, reject]
    this.last = 0;
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.finish(data);
    this.worker.onerror = (event) => this.fail(event.message || "the model's thread could not be started");
  }

  finish({ id, error, ...answer }) {
    const [resolve, reject] = this.waiting.get(id);
    this.waiting.delete(id);
    if (error) {
      reject(new Error(error));
    } else {
      resolve(answer);
    }
  }

  fail(message) {
    this.waiting.forEach(([, reject]) => reject(new Error(message)));
    this.waiting.clear();
  }

  send(kind, request = {}) {
    this.last += 1;
    const id = this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, [resolve, reject]);
      this.worker.postMessage({ id, kind, ...request });
    });
  }

  start() {
    return this.send("start");
  }

  readScene(scene, size) {
    return readScene(scene, size);
  }

  readTiff(file, size) {
    return readTiff(file, size);
  }

  async read(request) {
    const { superseded, ...read } = await this.send("read", request);
    return superseded ? null : read;
  }

  async likeness(x, y) {
    return (await this.send("likeness", { x, y, count: LIKENESSES })).words;
  }

  async anyWord() {
    await Promise.all([this.send("text"), tiffLibrary()]);
  }
}
