// Numbers on a grid, and how they are drawn. Nothing in here knows the page.

export const CHANCE_STEP = 2;      // every second row and column is enough for the average precision
const OPACITY = 0.65;              // of colours over the grey image
const NONE = [217, 217, 217];      // colour of "none of the words"
const MAGMA = (
  "000004 0b0924 20114b 3b0f70 57157e 721f81 8c2981 a8327d c43c75 de4968 f1605d fa7f5e fe9f6d febf84 fddea0 fcfdbf"
).split(" ");

export const sigmoid = (x) => 1 / (1 + Math.exp(-x));
export const logit = (p) => Math.log(p / (1 - p));

// A share as a text; small ones with a decimal.
export function percent(share) {
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;
}

export function toRGB(hex) {
  const digits = hex.replace("#", "");
  return [0, 2, 4].map((i) => parseInt(digits.slice(i, i + 2), 16));
}

const STOPS = MAGMA.map(toRGB);
const COLOURS = Array.from({ length: 256 }, (_, i) => {
  const at = (i / 255) * (STOPS.length - 1);
  const left = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[left].map((value, band) => value + (at - left) * (STOPS[left + 1][band] - value));
});

// Where a value between 0 and 1 lies on the scale: its square root, so that weak values are seen, too.
export function place(value) {
  return Math.sqrt(Math.min(1, Math.max(0, value)));
}

// The colour of a value between 0 and 1; below and above it is that of the ends.
export function colourOf(value) {
  return COLOURS[Math.round(255 * place(value))];
}

// Where a pixel of `size` lies in a grid of `grid` cells (bilinear, pixel centres): [left cell, right cell, weight].
function neighbours(grid, size) {
  return Array.from({ length: size }, (_, i) => {
    const at = Math.max(0, ((i + 0.5) * grid) / size - 0.5);
    const left = Math.min(Math.floor(at), grid - 1);
    return [left, Math.min(left + 1, grid - 1), at - left];
  });
}

// A square map of side `grid` in another size, as PyTorch's bilinear `interpolate`.
export function resize(map, grid, size) {
  if (grid === size) {
    return map;
  }
  const at = neighbours(grid, size);
  const wide = new Float32Array(grid * size);          // every row in its new length
  for (let x = 0; x < size; x += 1) {
    const [left, right, along] = at[x];
    for (let row = 0; row < grid; row += 1) {
      wide[row * size + x] = map[row * grid + left] * (1 - along) + map[row * grid + right] * along;
    }
  }
  const resized = new Float32Array(size * size);
  for (let y = 0; y < size; y += 1) {
    const [top, bottom, down] = at[y];
    for (let x = 0; x < size; x += 1) {
      resized[y * size + x] = wide[top * size + x] * (1 - down) + wide[bottom * size + x] * down;
    }
  }
  return resized;
}

// A_k (where the model has one), S_k and the cosine of a word in a size, from the steps that an engine gives.
export function finished(steps, grid, size) {
  const attention = steps.attention && { attention: resize(steps.attention.map(sigmoid), grid, size) };
  return {
    ...attention,
    probability: resize(steps.logits, grid, size).map(sigmoid),
    cosine: resize(steps.cosine, grid, size),
  };
}

// Average precision and chance in percent of the scores of some pixels; null if nothing is there. Equal scores count together.
export function averagePrecision(scores, there) {
  const right = scores.filter((_, i) => there[i]).sort();        // ascending, as all of them:
  const all = scores.slice().sort();
  let sum = 0;
  let below = all.length;                                        // how many of all are below the score in hand
  for (let last = right.length - 1; last >= 0; ) {
    const score = right[last];
    let first = last;
    while (first > 0 && right[first - 1] === score) {
      first -= 1;
    }
    while (below > 0 && all[below - 1] >= score) {
      below -= 1;
    }
    const precision = (right.length - first) / (all.length - below);
    sum += (last - first + 1) * precision;
    last = first - 1;
  }
  return right.length === 0 ? null : { ap: (100 * sum) / right.length, chance: (100 * right.length) / all.length };
}

// The largest of some numbers of at least -1.
export function largest(values) {
  let most = -1;
  for (let i = 0; i < values.length; i += 1) {
    most = Math.max(most, values[i]);
  }
  return most;
}

// Every `step`-th row and column of a square.
export function thinned(values, size, step) {
  const side = size / step;
  const few = new values.constructor(side * side);
  for (let i = 0; i < few.length; i += 1) {
    few[i] = values[step * Math.floor(i / side) * size + step * (i % side)];
  }
  return few;
}

// The best word of each pixel, -1 where none is as probable as the threshold.
export function bestWords(probabilities, threshold) {
  return Int16Array.from(probabilities[0], (_, i) => {
    let best = 0;
    for (let k = 1; k < probabilities.length; k += 1) {
      best = probabilities[k][i] > probabilities[best][i] ? k : best;
    }
    return probabilities[best][i] >= threshold ? best : -1;
  });
}

// Pictures: each is an ImageData of side `size`

// Colours over the grey image.
function blended(image, colourAt) {
  const picture = new ImageData(image.width, image.height);
  for (let i = 0; i < picture.data.length; i += 4) {
    const grey = (image.data[i] + image.data[i + 1] + image.data[i + 2]) / 3;
    const colour = colourAt(i / 4);
    for (let band = 0; band < 3; band += 1) {
      picture.data[i + band] = OPACITY * colour[band] + (1 - OPACITY) * grey;
    }
    picture.data[i + 3] = 255;
  }
  return picture;
}

// A map in colours over the grey image.
export function heatPicture(image, values) {
  return blended(image, (i) => colourOf(values[i]));
}

// The best words in their colours over the grey image.
export function labelPicture(image, labels, colours) {
  const rgb = colours.map(toRGB);
  return blended(image, (i) => (labels[i] < 0 ? NONE : rgb[labels[i]]));
}

// Draw the outline of a region into a picture: white, with black outside, so that it is seen on any ground.
export function drawOutline(picture, there) {
  const size = picture.width;
  const reach = Math.max(1, Math.round(size / 256));
  for (let i = 0; i < size * size; i += 1) {
    const x = i % size;
    const left = x >= reach && there[i - reach] !== there[i];
    const right = x + reach < size && there[i + reach] !== there[i];
    const above = i >= reach * size && there[i - reach * size] !== there[i];
    const below = i + reach * size < there.length && there[i + reach * size] !== there[i];
    if (left || right || above || below) {
      picture.data.fill(there[i] ? 255 : 0, 4 * i, 4 * i + 3);
    }
  }
}
