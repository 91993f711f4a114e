// Keys. While the explorer has the keyboard, no key reaches the page or the notebook around it.

const PIXEL_STEP = 8;
const FINE_STEP = 1;
const THRESHOLD_STEP = 0.05;
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
const LEFT_ALONE = new Set(["Tab", "Shift", "Control", "Alt", "Meta"]);

function moveThreshold(explorer, step) {
  const threshold = Math.min(0.95, Math.max(0.05, explorer.look.threshold + step));
  explorer.setLook({ threshold: Math.round(100 * threshold) / 100 });
}

function leave(explorer) {
  explorer.missions.close();
  explorer.part("help").hidden = true;
  explorer.beside.close();
  if (explorer.root.classList.contains("rsx-lecturing")) {
    explorer.toggleLecture();
  }
}

const view = (name) => (explorer) => explorer.setLook({ view: name });

export const KEYS = [
  { keys: "N, B", does: "next word, word before" },
  { keys: "A, S, C, M, I", does: "large picture: A, S, cosine, map of all words, image" },
  { keys: "+, −", does: "threshold" },
  { keys: "arrows", does: "move the pixel; with Shift by one" },
  { keys: "O", does: "outline of the truth" },
  { keys: "V", does: "compare; X, Z: what stands beside it" },
  { keys: "T, R", does: "later step of a training, earlier step" },
  { keys: "L", does: "lecture mode" },
  { keys: "G", does: "guided looks; 1 to 4 answer, Enter goes on" },
  { keys: "?", does: "this list" },
  { keys: "Esc", does: "close, leave" },
];

const ACTIONS = {
  n: (explorer) => explorer.nextWord(1),
  b: (explorer) => explorer.nextWord(-1),
  a: view("attention"),
  s: view("probability"),
  c: view("cosine"),
  m: view("map"),
  i: view("image"),
  o: (explorer) => explorer.setLook({ outline: !explorer.look.outline }),
  v: (explorer) => explorer.beside.toggle(),
  x: (explorer) => explorer.beside.next(1),
  z: (explorer) => explorer.beside.next(-1),
  t: (explorer) => explorer.nextStep(1),
  r: (explorer) => explorer.nextStep(-1),
  l: (explorer) => explorer.toggleLecture(),
  g: (explorer) => explorer.toggleMissions(),
  "?": (explorer) => explorer.toggleHelp(),
  "+": (explorer) => moveThreshold(explorer, THRESHOLD_STEP),
  "=": (explorer) => moveThreshold(explorer, THRESHOLD_STEP),
  "-": (explorer) => moveThreshold(explorer, -THRESHOLD_STEP),
  Escape: leave,
};

function act(explorer, event) {
  const arrow = ARROWS[event.key];
  if (arrow) {
    const step = event.shiftKey ? FINE_STEP : PIXEL_STEP;
    explorer.movePixel(step * arrow[0], step * arrow[1]);
  } else if (explorer.missions.open && /^[1-4]$/.test(event.key)) {
    explorer.missions.answer(Number(event.key) - 1);
  } else if (explorer.missions.open && event.key === "Enter") {
    explorer.missions.next();
  } else {
    ACTIONS[event.key.length === 1 ? event.key.toLowerCase() : event.key]?.(explorer);
  }
}

export function handleKey(explorer, event) {
  event.stopPropagation();
  const control = event.target.matches("input, select, textarea");
  const typing = event.target.matches("input:not([type]), textarea");
  const pressing = event.target.matches("button") && /^(Enter| )$/.test(event.key);
  const choosing = control && /^(Arrow.*|Home|End|Page.*|Enter| )$/.test(event.key);     // in a list, on a slider
  const command = event.ctrlKey || event.metaKey || event.altKey;
  if (control && event.key === "Escape") {
    explorer.root.focus();
    return;
  }
  if (typing || pressing || choosing || command || LEFT_ALONE.has(event.key) || /^F\d/.test(event.key)) {
    return;
  }
  event.preventDefault();
  if (explorer.shown) {
    act(explorer, event);
  }
}
