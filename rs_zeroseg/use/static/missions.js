// Guided looks: predict first, then see. The looks are data (missions.json), so that a teacher can add own ones.
//
// A look: {title, scene, words, word, question, options, answer (index of the right option), reveal}, and where wanted
// view, threshold and levels, or `then` with those that the reveal sets. In `reveal`, {ap|road} stands for a number that
// is measured in what is shown: ap, chance, max, over (share of pixels above the threshold), taken (share of the second
// word's pixels that the first one wins in the map of all words). {was ap|road} was measured before `then`.

const NUMBER = /\{(was )?(\w+)\|([^|}]+)(?:\|([^}]+))?\}/g;

const MEASURES = ["ap", "chance", "max", "over", "taken"];
const MOST_OPTIONS = 4;

// What is wrong with a look that somebody wrote, or "".
export function faultOf(mission, scenes) {
  const { title, scene, words = [], word, question, options = [], answer, reveal = "" } = mission;
  if (![title, question, reveal].every((text) => typeof text === "string" && text)) {
    return "title, question and reveal are texts";
  }
  if (!scenes.includes(scene)) {
    return `the scene ${scene} is none of ${scenes.join(", ")}`;
  }
  if (!words.includes(word)) {
    return `the word ${word} is none of its words`;
  }
  if (options.length > MOST_OPTIONS || !options[answer]) {
    return `answer is the place of one of at most ${MOST_OPTIONS} options, counted from 0`;
  }
  const unknown = [...reveal.matchAll(NUMBER)].find(([, , name]) => !MEASURES.includes(name));
  return unknown ? `${unknown[0]} is none of the numbers ${MEASURES.join(", ")}` : "";
}

export class Missions {
  // `panel` is the element to fill; `view` offers `open(settings)`, `measure(name, word, other)`, `predicting(yes)`
  // and `keepKeys()`.
  constructor(panel, view, missions) {
    const scenes = view.page.scenes.map(({ name }) => name);
    const faults = missions.map((mission) => faultOf(mission, scenes));
    Object.assign(this, { panel, view, missions: missions.filter((_, i) => !faults[i]) });
    this.faults = faults.map((fault, i) => fault && `missions.json, look ${i + 1}: ${fault}`).filter(Boolean);
    this.at = -1;                 // -1: none is open
    this.options = [];
  }

  get open() {
    return this.at >= 0;
  }

  async start(i) {
    this.at = i;
    const mission = this.missions[i];
    this.show([`Guided look ${i + 1} of ${this.missions.length}: ${mission.title}`, "…"]);
    const { scene, words, word, view = "image", levels = [1, 1, 1] } = mission;
    const threshold = mission.threshold ?? this.view.page.threshold;
    this.view.predicting(true);
    await this.view.open({ scene, words, word, view, threshold, levels });
    if (this.at === i) {
      this.ask(mission);
    }
  }

  ask(mission) {
    this.options = mission.options.map((option, i) => this.button(`${i + 1}  ${option}`, () => this.answer(i)));
    this.show([`${this.at + 1}/${this.missions.length} ${mission.title}`, mission.question], this.options);
  }

  async answer(chosen) {
    const i = this.at;
    const mission = this.missions[i];
    if (this.options.length === 0 || chosen >= this.options.length) {
      return;
    }
    this.options = [];
    const before = this.fill(mission.reveal, true);
    this.view.predicting(false);
    await this.view.open({ view: "attention", ...mission.then });
    if (this.at !== i) {
      return;
    }
    const verdict = chosen === mission.answer ? "As you said." : `You said: ${mission.options[chosen]}.`;
    const told = `${verdict} Seen: ${mission.options[mission.answer]}. ${this.fill(before, false)}`;
    const next = this.button("next (Enter)", () => this.next());
    this.show([`${i + 1}/${this.missions.length} ${mission.title}`, told], [next]);
  }

  // Put measured numbers into a text: those of before, or those of now.
  fill(text, before) {
    return text.replace(NUMBER, (all, was, name, word, other) =>
      Boolean(was) === before ? this.view.measure(name, word, other) : all,
    );
  }

  next() {
    if (this.options.length > 0) {
      return;                     // predict first
    }
    if (this.at + 1 < this.missions.length) {
      this.start(this.at + 1);
    } else {
      this.close();
    }
  }

  close() {
    this.at = -1;
    this.options = [];
    this.panel.hidden = true;
    this.view.predicting(false);
    this.view.keepKeys();
  }

  button(text, action) {
    const button = document.createElement("button");
    button.textContent = text;
    button.addEventListener("click", action);
    return button;
  }

  show([title, text], buttons = []) {
    const heading = document.createElement("h3");
    heading.textContent = title;
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    const line = document.createElement("div");
    line.className = "rsx-options";
    line.append(...buttons, this.button("close (Esc)", () => this.close()));
    this.panel.replaceChildren(heading, paragraph, line);
    this.panel.hidden = false;
    this.view.keepKeys();
  }
}
