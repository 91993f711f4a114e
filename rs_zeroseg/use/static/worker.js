// The model, run by ONNX Runtime Web in a thread of its own, so that the page never stands still.
//
// A message is {id, kind, ...}; the answer is {id, ...} or {id, error}. Of several `read` requests that wait, only the
// newest is worked on; the others are answered with {id, superseded: true}.

import * as ort from "./ort/ort.wasm.min.mjs";
import { readVocabulary, tokenize } from "./wordpiece.js";

const DIM = 384;           // of a text vector
const MOST_IMAGES = 4;     // that are kept, encoded
const MOST_VECTORS = 500;  // of typed words that are kept
const STEPS = ["cosine", "attention", "logits"];

let page;
const known = new Map();      // word of the vocabulary -> its vector
const typed = new Map();      // any other word -> its vector
const images = new Map();     // name and levels -> {prepared, maps: word -> maps}
let current;                  // one of `images`
let encoder;                  // promise of {session, vocabulary}
let imageGraph;
let queryGraph;
let newest = 0;               // id of the newest `read`

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;

// Files

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) {
    throw new Error(`${name}: the server answered ${answer.status}`);
  }
  return answer;
}

async function openGraph(name) {
  const file = await fetched(name);
  return ort.InferenceSession.create(new Uint8Array(await file.arrayBuffer()));
}

async function openEncoder() {
  const [session, file] = await Promise.all([openGraph("text.onnx"), fetched("vocabulary.txt")]);
  return { session, vocabulary: readVocabulary(await file.text()) };
}

async function start() {
  const files = [fetched("page.json"), fetched("words.bin"), openGraph("image.onnx"), openGraph("query.onnx")];
  const [description, vectors, forImage, forWords] = await Promise.all(files);
  page = await description.json();
  imageGraph = forImage;
  queryGraph = forWords;
  const numbers = new Float32Array(await vectors.arrayBuffer());
  page.words.forEach((row, i) => known.set(row.word, numbers.subarray(i * DIM, (i + 1) * DIM)));
  return { threads: ort.env.wasm.numThreads };
}

// The text encoder is large and seldom needed, so it is fetched after the first picture.
function readyForAnyWord() {
  encoder ??= openEncoder();
  encoder.catch(() => {
    encoder = undefined;      // the next word asks again
  });
  return encoder;
}

// Words

async function encodeWord(word) {
  const { session, vocabulary } = await readyForAnyWord().catch((error) => {
    throw new Error(`the text encoder, which “${word}” needs, could not be fetched (${error.message})`);
  });
  const ids = tokenize(page.template.replace("{}", word), vocabulary);
  const input = new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
  const made = await session.run({ ids: input });
  return made.text_emb.data;
}

function forgetOldest(kept, most) {
  while (kept.size > most) {
    kept.delete(kept.keys().next().value);
  }
}

async function vectorOf(word) {
  if (known.has(word)) {
    return known.get(word);
  }
  if (!typed.has(word)) {
    typed.set(word, await encodeWord(word));
    forgetOldest(typed, MOST_VECTORS);
  }
  return typed.get(word);
}

// Images

// RGBA bytes, row by row -> (1,3,size,size) in [0,1]
function asTensor(rgba) {
  const pixels = page.size * page.size;
  const data = new Float32Array(3 * pixels);
  for (let i = 0; i < pixels; i += 1) {
    for (let band = 0; band < 3; band += 1) {
      data[band * pixels + i] = rgba[4 * i + band] / 255;
    }
  }
  return new ort.Tensor("float32", data, [1, 3, page.size, page.size]);
}

async function encodedImage({ name, rgba, levels }) {
  const key = `${name} ${levels}`;
  if (!images.has(key)) {
    const inputs = { image: asTensor(rgba), levels: new ort.Tensor("float32", Float32Array.from(levels), [3]) };
    images.set(key, { prepared: await imageGraph.run(inputs), maps: new Map() });
    forgetOldest(images, MOST_IMAGES);
  }
  return images.get(key);
}

async function ask(image, words) {
  const vectors = new Float32Array(words.length * DIM);
  for (const [i, word] of words.entries()) {
    vectors.set(await vectorOf(word), i * DIM);
  }
  const text = new ort.Tensor("float32", vectors, [words.length, DIM]);
  const made = await queryGraph.run({ ...image.prepared, text_emb: text });
  const cells = page.grid * page.grid;
  words.forEach((word, k) => {
    const maps = STEPS.map((step) => [step, made[step].data.slice(k * cells, (k + 1) * cells)]);
    image.maps.set(word, Object.fromEntries(maps));
  });
}

// Requests

async function read(request) {
  await new Promise((done) => setTimeout(done));      // newer requests, if there are any, come in now
  if (request.id < newest) {
    return { superseded: true };
  }
  const image = await encodedImage(request);
  const missing = request.words.filter((word) => !image.maps.has(word));
  if (missing.length > 0) {
    await ask(image, missing);
  }
  current = image;
  const maps = new Map(request.words.map((word) => [word, image.maps.get(word)]));
  return { maps, scale: page.scale, bias: page.bias, threshold: page.threshold };
}

// The caption words that the VLM's patch at a pixel is most similar to, best first.
function likeness({ x, y, count }) {
  const { data, dims } = current.prepared.vlm;        // (1,DIM,h,w), unit vectors
  const [, , height, width] = dims;
  const cell = Math.floor((y * height) / page.size) * width + Math.floor((x * width) / page.size);
  const captioned = page.words.filter((row) => row.captioned);
  const cosines = captioned.map(({ word }) => {
    const vector = known.get(word);
    const products = vector.map((value, d) => value * data[d * height * width + cell]);
    return [word, products.reduce((sum, value) => sum + value, 0)];
  });
  return { words: cosines.sort((one, other) => other[1] - one[1]).slice(0, count) };
}

const KINDS = {
  start,
  read,
  likeness,
  text: async () => {
    await readyForAnyWord();
    return {};
  },
};

// One after the other, in the order in which they came.
let line = Promise.resolve();

async function answer(request) {
  try {
    self.postMessage({ id: request.id, ...(await KINDS[request.kind](request)) });
  } catch (error) {
    self.postMessage({ id: request.id, error: error.message || String(error) });
  }
}

self.onmessage = ({ data }) => {
  if (data.kind === "read") {
    newest = data.id;
  }
  if (data.kind === "text") {
    answer(data);             // fetching stands in nobody's way
  } else {
    line = line.then(() => answer(data));
  }
};
