// The explorer's fixed parts. Nothing that a user types is ever put in here as HTML.

export const PARTS = [
  ["1 1 1", "all three levels"],
  ["1 1 0", "without level 3"],
  ["1 0 1", "without level 2"],
  ["0 1 1", "without level 1"],
  ["0 0 0", "without any level"],
];

const options = PARTS.map(([value, label]) => `<option value="${value}">${label}</option>`).join("");

const VIEW_BUTTONS = [
  ["image", "image"],
  ["attention", "A<sub>k</sub>"],
  ["probability", "S<sub>k</sub>"],
  ["cosine", "cosine"],
  ["map", "map of all words"],
].map(([name, label]) => `<button type="button" data-part="view-${name}" aria-pressed="false">${label}</button>`).join("");

const THREE = [
  ["attention", "<b>A<sub>k</sub></b>: where it looks for", ""],
  ["probability", "<b>S<sub>k</sub></b>: how probable", "is"],
  ["cosine", "<b>cosine</b>: the VLM and", ""],
].map(([name, label, end]) => `
  <figure data-part="figure-${name}">
    <figcaption>${label} <em class="rsx-hand"></em> ${end}<span data-part="numbers-${name}"></span></figcaption>
    <div class="rsx-frame"><canvas width="256" height="256" role="img"></canvas><i class="rsx-cross" hidden></i></div>
  </figure>`).join("");

export const TEMPLATE = `
<header>
  <h1>What does a word attend to?</h1>
  <label>scene <select data-part="scene"></select></label>
  <label class="rsx-file">own image <input type="file" accept="image/png,image/jpeg,image/webp,image/tiff,.tif,.tiff" data-part="file"></label>
  <label>MS-CAM <select data-part="levels">${options}</select></label>
  <button type="button" data-part="compare" aria-pressed="false">compare (V)</button>
  <button type="button" data-part="missions">guided looks (G)</button>
  <button type="button" data-part="lecture">lecture (L)</button>
  <button type="button" data-part="keys" aria-label="keys">?</button>
  <p class="rsx-status">
    <span data-part="about"></span> <strong data-part="busy" role="status"></strong>
    <span data-part="error" role="alert"></span> <small data-part="encoder"></small>
  </p>
</header>
<main>
  <section class="rsx-large">
    <div class="rsx-views">${VIEW_BUTTONS}<label><input type="checkbox" data-part="outline"> outline</label></div>
    <div class="rsx-frame" data-part="large">
      <canvas width="512" height="512" role="img"></canvas><i class="rsx-cross" hidden></i>
    </div>
    <p class="rsx-caption" data-part="large-caption" hidden></p>
  </section>
  <section class="rsx-beside" data-part="beside-panel" aria-label="what stands beside" hidden>
    <div class="rsx-views"><label>compare with (X, Z) <select data-part="beside"></select></label></div>
    <div class="rsx-frame" data-part="large-beside">
      <canvas width="512" height="512" role="img"></canvas><i class="rsx-cross" hidden></i>
    </div>
    <p class="rsx-caption" data-part="beside-caption"></p>
  </section>
  <section class="rsx-side">
    <h2><span data-part="word"></span> <small data-part="word-about"></small></h2>
    <div class="rsx-three">${THREE}</div>
    <div class="rsx-scale"><div><canvas width="256" height="1"></canvas><div class="rsx-scale-ticks"></div></div>
      <small>one scale for all maps; a cosine below 0 is drawn as 0</small></div>
    <table class="rsx-pair" data-part="pair" hidden><thead><tr><td></td><th>left</th><th>right</th></tr></thead>
      <tbody data-part="pair-rows"></tbody></table>
    <div class="rsx-pixel">
      <p><b data-part="pixel-at"></b> <small><i class="rsx-dot"></i> by the cosine alone; <i class="rsx-up"></i><i class="rsx-down"></i>
        above: to A<sub>k</sub>, below: to S<sub>k</sub>; dashed: threshold</small></p>
      <div data-part="waterfall"></div>
      <p data-part="likeness"></p>
    </div>
    <div class="rsx-mission" data-part="mission" aria-live="polite" hidden></div>
  </section>
</main>
<footer>
  <div class="rsx-tools">
    <form data-part="add"><input data-part="new-word" aria-label="a word, or several with commas" placeholder="add a word, Enter"
      autocomplete="off"><button>add</button></form>
    <label>threshold <input type="range" min="0.05" max="0.95" step="0.01" data-part="threshold">
      <output data-part="threshold-value"></output></label>
    <label data-part="steps" hidden>training (T, R) <input type="range" min="0" step="1" data-part="step">
      <output data-part="step-value"></output></label>
  </div>
  <div class="rsx-chips" data-part="chips"></div>
</footer>
<section class="rsx-lecture" aria-label="lecture mode">
  <figure><div class="rsx-frame" data-part="lecture-image">
    <canvas width="512" height="512" role="img"></canvas><i class="rsx-cross" hidden></i></div>
    <figcaption data-part="lecture-about"></figcaption></figure>
  <figure><div class="rsx-frame" data-part="lecture-map">
    <canvas width="512" height="512" role="img"></canvas><i class="rsx-cross" hidden></i></div>
    <figcaption data-part="lecture-caption"></figcaption></figure>
  <p data-part="lecture-legend" hidden></p>
  <p data-part="lecture-keys">N next word &nbsp; A S C map &nbsp; V compare &nbsp; + − threshold &nbsp; arrows: pixel &nbsp; L leave</p>
</section>
<section class="rsx-help" data-part="help" aria-label="keys" hidden><h3>Keys</h3><dl></dl></section>`;
