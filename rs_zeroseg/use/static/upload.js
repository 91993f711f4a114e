// A button that takes one file and sends it to the kernel in pieces.
//
// A file larger than `most` bytes never travels: `said` tells why. Any other file is sent as messages
// { name, at, last }, each with one piece of its content, because one large message would break the connection.

const PIECE = 1e6;   // bytes
const TYPES = "image/*,.tif,.tiff,.jp2";

function megabytes(bytes) {
  return `${Math.round(bytes / 1e6)} MB`;
}

function tell(model, text) {
  for (const value of ["", text]) {   // first nothing: the same text again would be no change
    model.set("said", value);
    model.save_changes();
  }
}

async function sendPieces(model, file) {
  const size = Math.max(file.size, 1);   // an empty file is one empty piece
  for (let at = 0; at < size; at += PIECE) {
    const piece = await file.slice(at, at + PIECE).arrayBuffer();
    const last = at + PIECE >= file.size;
    model.send({ name: file.name, at, last }, undefined, [piece]);
  }
}

async function take(model, input) {
  const file = input.files[0];
  if (!file) {
    return;
  }
  const most = model.get("most");
  if (file.size > most) {
    tell(model, `${file.name}: ${megabytes(file.size)}; at most ${megabytes(most)}, or give the file's path`);
  } else {
    await sendPieces(model, file);
  }
  input.value = "";   // the same file can be chosen again
}

function openByKey(input, event) {
  if (event.key === "Enter" || event.key === " ") {
    input.click();
    event.preventDefault();
  }
}

function render({ model, el }) {
  const label = document.createElement("label");
  label.className = "rs-upload jupyter-button";
  label.textContent = "upload";
  label.tabIndex = 0;
  label.dataset.lmSuppressShortcuts = "true";    // a letter is no command of JupyterLab here

  const input = document.createElement("input");
  input.type = "file";
  input.accept = TYPES;
  label.append(input);
  el.append(label);

  label.addEventListener("keydown", (event) => openByKey(input, event));
  input.addEventListener("change", () => take(model, input));
}

export default { render };
