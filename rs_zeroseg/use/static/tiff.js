// A TIFF or GeoTIFF of the user, read in the browser by geotiff.js, which lies beside the page and is fetched after
// the first picture. 8-bit values stay as they are; 16-bit values are stretched, and `said` tells how.

const MOST_PIXELS = 50e6;
const MOST_SAMPLED = 1e6;         // values per band that the percentiles come from
const [LOW, HIGH] = [2, 98];      // percent
const REDUCED = 1;                // a bit of NewSubfileType: the same image, smaller
const MASK = 4;                   // another one
const [PALETTE, YCBCR] = [3, 6];  // photometric interpretations
const VERSIONS = [42, 43];        // TIFF and BigTIFF
const WHOLE = [1, 2];             // sample formats: whole numbers without and with a sign

// Does a file begin as a TIFF does?
export async function isTiff(file) {
  const [a, b, c, d] = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  const first = String.fromCharCode(a, b);
  return (first === "II" && VERSIONS.includes(c) && d === 0) || (first === "MM" && c === 0 && VERSIONS.includes(d));
}

// geotiff.js, fetched once. Whoever calls this while there is a network can read TIFF files without one.
export async function tiffLibrary() {
  try {
    await import(new URL("./geotiff/geotiff.js", import.meta.url));
  } catch (error) {
    throw new Error(`the reader of TIFF files could not be fetched (${error.message})`);
  }
  return globalThis.GeoTIFF;
}

// The smallest overview that is still as large as `size`, or the image itself.
async function smallest(tiff, size) {
  const count = await tiff.getImageCount();
  let best = await tiff.getImage(0);
  for (let i = 1; i < count; i += 1) {
    const image = await tiff.getImage(i);
    const kind = image.fileDirectory.getValue("NewSubfileType") ?? 0;
    const [shorter, narrowest] = [image, best].map((one) => Math.min(one.getWidth(), one.getHeight()));
    if (kind & REDUCED && !(kind & MASK) && shorter >= size && shorter < narrowest) {
      best = image;
    }
  }
  return best;
}

// What makes an image one that the page cannot use, or "".
function faultOf(image) {
  const bands = image.getSamplesPerPixel();
  const bits = image.getBitsPerSample();
  const format = image.getSampleFormat();
  if (image.fileDirectory.getValue("PhotometricInterpretation") === PALETTE) {
    return "has a colour table: save it as an RGB image";
  }
  if (bands < 3) {
    return `has ${bands === 1 ? "one band" : "two bands"}: red, green and blue are needed`;
  }
  if (!WHOLE.includes(format) || (bits !== 16 && !(bits === 8 && format === 1))) {
    return `has ${bits}-bit ${WHOLE.includes(format) ? "" : "floating-point "}values: save it as 8-bit or 16-bit RGB`;
  }
  const side = Math.min(image.getWidth(), image.getHeight());
  return side ** 2 > MOST_PIXELS ? `is ${side} px wide: at most ${Math.floor(Math.sqrt(MOST_PIXELS))}; cut a piece out first` : "";
}

// The values of a band below which LOW and HIGH percent of the valid ones lie.
function limitsOf(band, valid) {
  const step = Math.max(1, Math.floor(band.length / MOST_SAMPLED));
  const few = [];
  for (let i = 0; i < band.length; i += step) {
    if (valid(i)) {
      few.push(band[i]);
    }
  }
  const sorted = Float64Array.from(few).sort();
  const at = (share) => sorted[Math.round((share / 100) * (sorted.length - 1))] ?? 0;
  const low = at(LOW);
  return [low, Math.max(at(HIGH), low + 1e-6)];
}

function asPixels(bands, side, limits, valid) {
  const pixels = new ImageData(side, side);
  for (let i = 0; i < side * side; i += 1) {
    bands.forEach((band, k) => {
      const [low, high] = limits[k];
      pixels.data[4 * i + k] = valid(i) ? (255 * (band[i] - low)) / (high - low) : 0;     // rounded and clipped
    });
    pixels.data[4 * i + 3] = 255;
  }
  return pixels;
}

function whichBands(image) {
  const count = image.getSamplesPerPixel();
  const others = image.fileDirectory.getValue("ExtraSamples") ?? [];
  const alpha = [1, 2];            // what ExtraSamples calls an alpha band
  const known = count === 3 || (count === 4 && alpha.includes(others[0]));
  return known ? "" : `; bands 1, 2 and 3 of ${count} are taken for red, green and blue`;
}

// The middle square of a TIFF file: its pixels, at least `size` wide where the file is, and what was done to them.
export async function readTiff(file, size) {
  const { fromBlob } = await tiffLibrary();
  let image;
  try {
    image = await smallest(await fromBlob(file), size);
  } catch (error) {
    throw new Error(`${file.name} is damaged, or a kind of TIFF that is not read here (${error.message})`);
  }
  const fault = faultOf(image);
  if (fault) {
    throw new Error(`${file.name} ${fault}`);
  }
  const [width, height] = [image.getWidth(), image.getHeight()];
  const side = Math.min(width, height);
  const [left, top] = [Math.floor((width - side) / 2), Math.floor((height - side) / 2)];
  const window = [left, top, left + side, top + side];
  const ycbcr = image.fileDirectory.getValue("PhotometricInterpretation") === YCBCR;
  let bands;
  try {
    bands = ycbcr ? await image.readRGB({ window }) : await image.readRasters({ window, samples: [0, 1, 2] });
  } catch (error) {
    throw new Error(`${file.name} cannot be read to its end (${error.message})`);
  }
  const nothing = image.getGDALNoData();
  const valid = (i) => nothing === null || bands.some((band) => band[i] !== nothing);
  const bytes = image.getBitsPerSample() === 8;
  const limits = bands.map((band) => (bytes ? [0, 255] : limitsOf(band, valid)));
  const told = limits.map(([low, high]) => `${Math.round(low)} to ${Math.round(high)}`).join(", ");
  const stretch = bytes ? "" : `; 16-bit values are stretched from their 2nd to their 98th percentile: ${told}`;
  return { pixels: asPixels(bands, side, limits, valid), said: `${whichBands(image)}${stretch}` };
}
