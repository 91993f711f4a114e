// A box that has the keyboard while it has the focus, and reports the keys 1 to 5 and backspace.
//
// `pressed` is [key, count]: the count makes the same key, pressed twice, two changes.

const ANSWERS = /^([1-5]|Backspace)$/;

function report(model, event) {
  if (!ANSWERS.test(event.key)) {
    return;
  }
  const count = model.get("pressed")[1];
  model.set("pressed", [event.key, count + 1]);
  model.save_changes();
  event.preventDefault();
  event.stopPropagation();
}

function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "rs-keys";
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.dataset.lmSuppressShortcuts = "true";      // a letter is no command of JupyterLab here
  el.append(box);

  const show = () => {
    const text = model.get("text");
    box.textContent = text;
    box.setAttribute("aria-label", text);
  };

  box.addEventListener("keydown", (event) => report(model, event));
  model.on("change:text", show);
  show();
}

export default { render };
