// A picture that can be clicked: an image under a caption, with a cross at the pixel that is chosen.
//
// The kernel sends `data` (a PNG or WebP), `caption` and `alt`, the description for those who do not see the image.
// A click sets `pixel` to [row, column], as fractions of the image; so do the arrow keys, for those without a mouse.

const MOST = 0.999;        // the last pixel still lies inside the image
const KEY_STEP = 1 / 64;   // of the image, for one press of an arrow key
const MIDDLE = [0.5, 0.5];
const ARROWS = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

function makeElement(tag, className) {
  const element = document.createElement(tag);
  element.className = className;
  return element;
}

function setVisible(element, visible) {
  element.style.display = visible ? "block" : "none";
}

function showImage(model, box, image) {
  const data = model.get("data");
  const before = image.src;
  setVisible(box, data.byteLength > 0);
  image.src = URL.createObjectURL(new Blob([data]));
  if (before) {
    URL.revokeObjectURL(before);
  }
}

function showWords(model, caption, image) {
  caption.textContent = model.get("caption");
  setVisible(caption, model.get("caption") !== "");
  image.alt = model.get("alt");
}

function showCross(model, cross) {
  const pixel = model.get("pixel");
  setVisible(cross, pixel.length > 0);
  if (pixel.length > 0) {
    cross.style.top = `${100 * pixel[0]}%`;
    cross.style.left = `${100 * pixel[1]}%`;
  }
}

function inside(fraction) {
  return Math.min(MOST, Math.max(0, fraction));
}

function choose(model, row, column) {
  model.set("pixel", [inside(row), inside(column)]);
  model.save_changes();
}

function chooseByMouse(model, image, event) {
  const frame = image.getBoundingClientRect();
  const row = (event.clientY - frame.top) / frame.height;
  const column = (event.clientX - frame.left) / frame.width;
  choose(model, row, column);
}

function chooseByKey(model, event) {
  const step = ARROWS[event.key];
  if (!step) {
    return;
  }
  const pixel = model.get("pixel");
  const [row, column] = pixel.length > 0 ? pixel : MIDDLE;
  choose(model, row + KEY_STEP * step[0], column + KEY_STEP * step[1]);
  event.preventDefault();    // the page does not scroll
  event.stopPropagation();   // and the notebook does not go to another cell
}

function render({ model, el }) {
  const caption = makeElement("div", "rs-caption");
  const box = makeElement("div", "rs-box");
  const image = makeElement("img", "rs-image");
  const cross = makeElement("div", "rs-cross");
  el.classList.add("rs-picture");
  el.append(caption, box);
  box.append(image, cross);
  box.tabIndex = 0;
  box.dataset.lmSuppressShortcuts = "true";      // a letter is no command of JupyterLab here

  image.addEventListener("click", (event) => {
    chooseByMouse(model, image, event);
    box.focus();
  });
  box.addEventListener("keydown", (event) => chooseByKey(model, event));

  model.on("change:data", () => showImage(model, box, image));
  model.on("change:caption", () => showWords(model, caption, image));
  model.on("change:alt", () => showWords(model, caption, image));
  model.on("change:pixel", () => showCross(model, cross));

  showImage(model, box, image);
  showWords(model, caption, image);
  showCross(model, cross);
  return () => URL.revokeObjectURL(image.src);
}

export default { render };
