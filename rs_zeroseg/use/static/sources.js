// Images: scenes that lie beside the page, and files of the user, which never leave the browser.

import { isTiff } from "./tiff.js";

const MOST_BYTES = 64e6;

// The middle square in another size; what is transparent becomes black, on the page as for the model.
function cut(bitmap, size) {
  const side = Math.min(bitmap.width, bitmap.height);
  const canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  const [left, top] = [bitmap.width - side, bitmap.height - side].map((margin) => Math.floor(margin / 2));
  context.drawImage(bitmap, left, top, side, side, 0, 0, size, size);
  return context.getImageData(0, 0, size, size);
}

async function pixelsBeside(name, size) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) {
    throw new Error(`${name}: the server answered ${answer.status}`);
  }
  return cut(await createImageBitmap(await answer.blob(), { colorSpaceConversion: "none" }), size);
}

// A scene of the page and its truth, the index of a category for each pixel.
export async function readScene({ name, title }, size) {
  const files = [`${name}.png`, `${name}-truth.png`];
  const [pixels, labels] = await Promise.all(files.map((file) => pixelsBeside(file, size)));
  const truth = Uint8Array.from({ length: size * size }, (_, i) => labels.data[4 * i]);
  return { name, title, pixels, truth };
}

let uploads = 0;

async function asBitmap(file, size, readTiff) {
  if (await isTiff(file)) {
    const { pixels, said } = await readTiff(file, size);
    return { bitmap: await createImageBitmap(pixels), said };
  }
  try {
    return { bitmap: await createImageBitmap(file), said: "" };
  } catch {
    throw new Error(`${file.name} is not an image that a browser reads: save it as PNG or JPEG`);
  }
}

// The middle square of an image file, `size` pixels wide. Throws an error that names the file and the way out.
export async function readImageFile(file, size, readTiff) {
  if (file.size > MOST_BYTES) {
    throw new Error(`${file.name} has ${Math.round(file.size / 1e6)} MB: at most ${MOST_BYTES / 1e6}`);
  }
  const { bitmap, said } = await asBitmap(file, size, readTiff);
  uploads += 1;
  const shrunk = bitmap.width === size && bitmap.height === size ? "" : `, its middle square at ${size} px`;
  return { name: `own-${uploads}`, title: `${file.name}${shrunk}${said}`, pixels: cut(bitmap, size), truth: null };
}
