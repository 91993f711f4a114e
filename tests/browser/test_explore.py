"""The attention explorer in a real browser: in JupyterLab, and as the page of `rs_zeroseg lab --app attention`."""
import base64
import io
import json
import statistics

import numpy as np
import psutil
import pytest
from conftest import SHOTS, changes, choose, control, free_port, new_page, press_button, serving, shoot, shown, slide
from PIL import Image

from rs_zeroseg import load
from rs_zeroseg.data.pocket import make_scene, write_scene
from rs_zeroseg.data.vocab import caption_words
from rs_zeroseg.model.checkpoint import save
from rs_zeroseg.use.choices import UNTRAINED, model_named, read_source
from rs_zeroseg.use.reading import Reading
from rs_zeroseg.use.widgets import heat_picture

EXPLORER = ".rs-explorer"
OPACITY, THRESHOLD, STEP = range(3)        # the sliders, in their order on the page
IMAGE, MAP, FIRST_WORD = range(3)          # the pictures of a scene, in their order on the page
WORDS = list(caption_words())
TOO_MANY = ", ".join(f"w{i}" for i in range(500))


@pytest.fixture(scope="module")
def page(lab, browser):
    source = "from rs_zeroseg.use.explore import AttentionExplorer\nAttentionExplorer()"
    with shown(lab, browser, "attention", source, ".rs-explorer .rs-picture img") as page:
        yield page


# What is on the page

PICTURES = """async () => {
    const asBase64 = async blob => {
        const bytes = new Uint8Array(await blob.arrayBuffer());
        return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
    };
    const captionAndFile = async picture => {
        const caption = picture.querySelector(".rs-caption").textContent;
        const answer = await fetch(picture.querySelector("img").src);
        return [caption, await asBase64(await answer.blob())];
    };
    return Promise.all([...document.querySelectorAll(".rs-explorer .rs-picture")].map(captionAndFile));
}"""


def pictures(page):
    "caption -> image file, as the browser has them."
    return {caption: base64.b64decode(file) for caption, file in page.evaluate(PICTURES)}


def picture(page, part):
    "The file of the first picture whose caption holds `part`, or None."
    return next((file for caption, file in pictures(page).items() if part in caption), None)


def new_picture(page, part):
    "What is done in the block changes the picture whose caption holds `part`."
    def told():
        message = page.locator(".rs-explorer .widget-html").first.inner_text()
        return f"the picture of {part!r} among {list(pictures(page))}, message {message!r}"

    return changes(lambda: picture(page, part), told)


def shows_attention(page, word, source="1001909"):
    "Does a picture show A_k as the model gives it? To 2 grey levels: another number of threads may round elsewhere."
    colours = control(page, EXPLORER, "colours").input_value()
    opacity = float(page.locator(".rs-explorer .widget-readout").nth(OPACITY).inner_text())
    reading = Reading(load("pocket"), *read_source(source))
    attention = reading.ask([word])[0].attention
    expected = 255*heat_picture(reading.image, attention, colours, opacity)
    drawn = np.asarray(Image.open(io.BytesIO(picture(page, f"{word} ("))))
    return drawn.shape == expected.shape and abs(drawn - expected).max() <= 2.5


# What a user does

def type_in(page, name, text):
    box = control(page, EXPLORER, name)
    box.fill(text)
    box.press("Enter")


def click_view(page, name):
    "Look at A_k or at S_k."
    page.locator(f'.rs-explorer .widget-toggle-button:has-text("{name}")').click()


def click_picture(page, nth, x, y):
    page.locator(".rs-picture img").nth(nth).click(position=dict(x=x, y=y))


def wait_until_told(page, text):
    "An error message."
    page.wait_for_selector(f".rs-explorer b:has-text('{text}')")


def wait_for_caption(page, text):
    page.wait_for_selector(f'.rs-caption:has-text("{text}")')


def start(page, words="road, building"):
    "A scene and some words, whatever the test before has left."
    last = words.split(", ")[-1]
    type_in(page, "image", "1001909")
    type_in(page, "words", words)
    wait_for_caption(page, f"{last} (")
    page.wait_for_timeout(1000)


# In JupyterLab

def test_a_typed_word_shows_its_attention(page):
    with new_picture(page, "lagoon (unseen"):
        type_in(page, "words", "road, lagoon")

    assert shows_attention(page, "lagoon")


def test_views_colours_and_sliders_change_the_pictures(page):
    start(page)

    with new_picture(page, "building"):
        click_view(page, "S_k")
    with new_picture(page, "building"):
        click_view(page, "A_k")
    with new_picture(page, "building"):
        choose(page, EXPLORER, "colours", "viridis")
    with new_picture(page, "building"):
        slide(page, EXPLORER, OPACITY)
    with new_picture(page, "map, threshold"):
        slide(page, EXPLORER, THRESHOLD, times=5)
    with new_picture(page, "image"):
        type_in(page, "image", "1000007")


VISIBLE_CROSSES = "() => [...document.querySelectorAll('.rs-cross')].filter(cross => cross.checkVisibility()).length"
IS_GONE = "text => ![...document.querySelectorAll('.rs-explorer')].some(e => e.innerText.includes(text))"


def test_a_pixel_is_read_by_mouse_and_keys(page):
    start(page)

    click_picture(page, FIRST_WORD, 100, 60)
    page.wait_for_selector(".rs-explorer :text('it looks like')")
    page.wait_for_function(f"() => ({VISIBLE_CROSSES})() === 4")                 # image, map and two words
    said = page.locator(".rs-explorer :text('pixel, row')").inner_text().splitlines()[0]
    page.locator(".rs-box").nth(FIRST_WORD).press("ArrowDown")

    page.wait_for_function(IS_GONE, arg=said)
    shoot(page, "attention")


def test_code_figure_and_map_are_made(page):
    start(page)

    press_button(page, EXPLORER, "code")
    page.wait_for_selector(".rs-explorer pre:has-text('reading_of')")
    for button, made in (("save figure", "attention.png"), ("save map", "map.tif")):
        press_button(page, EXPLORER, button)
        page.wait_for_selector(f".rs-explorer .widget-html:has-text('saved'):has-text('{made}')")


def open_the_rest(page):
    "The controls that are folded away at first, if they still are."
    header = page.locator(".rs-explorer .jp-Collapse-header, .rs-explorer :text('models, training')").first
    if not control(page, EXPLORER, "part").is_visible():
        header.click()


def test_models_and_parts(page):
    start(page)
    open_the_rest(page)

    with new_picture(page, "building"):
        choose(page, EXPLORER, "part", "MS-CAM level 3 only")
    with new_picture(page, "building"):
        choose(page, EXPLORER, "part", "as trained")
    type_in(page, "beside", "pocket-zero-shot")
    wait_for_caption(page, "pocket-zero-shot: road: no A_k")
    type_in(page, "beside", "")
    click_view(page, "S_k")
    with new_picture(page, "building"):
        type_in(page, "model", "pocket-zero-shot")
    type_in(page, "model", "pocket")
    click_view(page, "A_k")


def test_the_difference_of_two_words(page):
    start(page)
    open_the_rest(page)

    choose(page, EXPLORER, "difference", "road")
    choose(page, EXPLORER, "minus", "building")
    wait_for_caption(page, "minus building")

    choose(page, EXPLORER, "difference", "none")
    page.wait_for_selector('.rs-caption:has-text("minus building")', state="detached")
    box = control(page, EXPLORER, "difference")
    assert box.evaluate("box => box.selectedIndex") == 0      # it says "none", and is not blank


def test_a_run_is_watched(page, lab):
    _, folder = lab
    start(page)
    open_the_rest(page)
    type_in(page, "run", "nowhere")
    wait_until_told(page, "rs_zeroseg train --out nowhere")
    save(model_named(UNTRAINED), folder / "run" / "snapshots" / "step-000000")
    save(model_named("pocket"), folder / "run" / "snapshots" / "step-000300")

    type_in(page, "run", "run")
    page.wait_for_selector(".rs-explorer .widget-html:has-text('2 snapshots')")
    with new_picture(page, "road ("):
        slide(page, EXPLORER, STEP)        # step 0
    with new_picture(page, "road ("):
        slide(page, EXPLORER, STEP)        # step 300


def test_the_window_of_a_large_file_is_moved(page, lab):
    _, folder = lab
    write_scene(make_scene(5, size=1024), folder / "large.tif")
    open_the_rest(page)
    type_in(page, "image", "large.tif")
    wait_for_caption(page, "the whole file")

    with new_picture(page, "image"):
        click_picture(page, 0, 20, 20)     # the overview: pan
    with new_picture(page, "image"):
        choose(page, EXPLORER, "window px", "256")
    shoot(page, "window")


def test_uploads(page, lab):
    _, folder = lab
    files = page.locator(".rs-explorer .rs-upload input")
    write_scene(make_scene(9, size=200), folder / "mine.tif")
    (folder / "broken.tif").write_bytes(b"II*\0half")
    with open(folder / "huge.tif", "wb") as file:
        file.truncate(300 * 10**6)

    with new_picture(page, "image"), new_picture(page, "map, threshold"):      # the map comes last
        files.set_input_files(folder / "mine.tif")
    before = pictures(page)
    files.set_input_files(folder / "broken.tif")
    wait_until_told(page, "not an image")
    files.set_input_files(folder / "huge.tif")
    wait_until_told(page, "300 MB; at most 64 MB")

    assert pictures(page) == before


NO_ERROR = "() => !document.querySelector('.rs-explorer b[style]')"


def test_a_file_that_is_refused_twice_is_told_twice(page, lab):
    _, folder = lab
    start(page)
    files = page.locator(".rs-explorer .rs-upload input")
    with open(folder / "huge.tif", "wb") as file:
        file.truncate(300 * 10**6)

    for words in ("road, tree", "road, building"):
        files.set_input_files(folder / "huge.tif")
        wait_until_told(page, "300 MB; at most 64 MB")
        type_in(page, "words", words)
        page.wait_for_function(NO_ERROR)


def test_a_mistake_is_told_and_the_pictures_stay(page):
    start(page)
    before = pictures(page)

    for words, told in ((" , ", "at least one word"), ("road, Road", "given twice"), (TOO_MANY, "at most 24")):
        type_in(page, "words", words)
        wait_until_told(page, told)
        assert pictures(page) == before
    type_in(page, "words", "road, building")
    page.wait_for_function(NO_ERROR)
    type_in(page, "image", "nowhere.tif")
    wait_until_told(page, "no such file")

    assert pictures(page) == before


# How fast

WATCH = """word => new Promise(done => {
    const boxes = [...document.querySelectorAll(".rs-explorer .widget-text")];
    const input = boxes.find(box => box.textContent.trim() === "words").querySelector("input");
    const enter = { key: "Enter", keyCode: 13, bubbles: true };
    input.value = word;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    const began = performance.now();
    input.dispatchEvent(new KeyboardEvent("keypress", enter));
    input.dispatchEvent(new KeyboardEvent("keydown", enter));
    input.dispatchEvent(new Event("change", { bubbles: true }));
    const look = () => {
        const all = [...document.querySelectorAll(".rs-explorer .rs-picture")];
        const caption = picture => picture.querySelector(".rs-caption").textContent;
        const image = all.find(picture => caption(picture).startsWith(word + " ("))?.querySelector("img");
        if (image?.src && image.complete && image.naturalWidth) {
            done(performance.now() - began);
        } else {
            requestAnimationFrame(look);
        }
    };
    look();
})"""


def test_a_new_word_is_shown_within_a_second(page, lab):
    """From the event to the pixels of a new word on 512 x 512, median of 20; kept in out/browser/latency.json.

    The aim is 100 ms where nobody else wants the two cores. That depends on the machine, so it is measured and printed
    here, not asserted; a second is too long everywhere."""
    _, folder = lab
    write_scene(make_scene(3, size=512), folder / "square.tif")
    type_in(page, "image", "square.tif")
    page.wait_for_selector('.rs-explorer img[alt="the image square.tif"]', state="attached")
    page.wait_for_timeout(1000)
    others = psutil.cpu_percent(1)                          # percent of all cores, while we do nothing

    _, *spent = [page.evaluate(WATCH, word) for word in WORDS[20:41]]

    median = statistics.median(spent)
    kept = dict(median_ms=round(median, 1), others_percent=others, ms=[round(t, 1) for t in spent])
    (SHOTS / "latency.json").write_text(json.dumps(kept))
    print(f"\nmedian {median:.0f} ms from word to pixels; the aim is 100 on an idle machine")
    assert len(spent) == 20
    assert median <= 1000
    assert shows_attention(page, WORDS[40], str(folder / "square.tif"))


FLIGHT = """() => {
    const flight = { out: new Set(), most: 0, sent: 0 };
    window.flight = flight;
    const send = WebSocket.prototype.send;
    const asText = data => typeof data === "string" ? data : new TextDecoder("latin1").decode(data);
    const noteSent = message => {
        if (message.includes('"comm_msg"') && message.includes('"value"')) {
            flight.out.add(/"msg_id":\\s*"([^"]+)"/.exec(message)[1]);
            flight.sent += 1;
            setTimeout(() => { flight.most = Math.max(flight.most, flight.out.size); });
        }
    };
    const noteAnswered = message => {
        if (/"execution_state":\\s*"idle"/.test(message)) {
            [...flight.out].filter(id => message.includes(id)).forEach(id => flight.out.delete(id));
        }
    };
    WebSocket.prototype.send = function (data) {
        noteSent(asText(data));
        if (!this.watched) {
            this.watched = true;
            this.addEventListener("message", event => noteAnswered(asText(event.data)));
        }
        return send.call(this, data);
    };
}"""


def drag(page, handle):
    "Move a slider to and fro 60 times, and then to the left."
    at = handle.bounding_box()
    x, y = at["x"] + at["width"]/2, at["y"] + at["height"]/2
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(60):
        page.mouse.move(x + 40*np.sin(i/5), y)
    page.mouse.move(x - 25, y)
    page.mouse.up()


def test_a_dragged_slider_waits_for_the_kernel(page):
    """One message on its way, however fast the hand, and behind it only the newest value.

    The picture ends where the slider does."""
    start(page, ", ".join(WORDS[:12]))
    page.evaluate(FLIGHT)

    drag(page, page.locator(".rs-explorer .noUi-handle").nth(OPACITY))
    page.wait_for_function("() => window.flight.sent && !window.flight.out.size")
    page.wait_for_timeout(1000)

    most, sent = page.evaluate("() => [window.flight.most, window.flight.sent]")
    print(f"\n61 moves, {sent} messages, at most {most} on its way")
    assert most == 1
    assert 2 <= sent < 61
    assert shows_attention(page, WORDS[0])


# As a page for others

@pytest.fixture
def classroom(browser, tmp_path):
    "(page, folder) of what `rs_zeroseg lab --app attention` serves."
    port = free_port()
    command = ["-m", "rs_zeroseg", "lab", "--app", "attention", "--no-browser", f"--port={port}"]
    with serving(command, port, "voila.log", tmp_path) as address, new_page(browser) as page:
        page.goto(address)
        page.wait_for_selector(".rs-explorer .rs-picture img")
        page.wait_for_timeout(1000)
        yield page, tmp_path


def test_the_page_for_a_classroom(classroom):
    page, folder = classroom
    with new_picture(page, "tree (base"):
        type_in(page, "words", "tree")
    assert shows_attention(page, "tree")

    # no files of the host
    type_in(page, "image", "/etc/hostname")
    wait_until_told(page, "upload an image")
    shoot(page, "voila")

    # all else as in JupyterLab
    with new_picture(page, "tree (base"):
        slide(page, EXPLORER, OPACITY)
    with new_picture(page, "tree (base"):
        click_view(page, "S_k")
    with new_picture(page, "tree (base"):
        choose(page, EXPLORER, "colours", "viridis")
    click_picture(page, FIRST_WORD, 100, 60)
    page.wait_for_selector(".rs-explorer :text('it looks like')")

    # what is saved is offered for download, and what is uploaded is shown
    press_button(page, EXPLORER, "save map")
    page.wait_for_selector(".rs-explorer a[download='map.tif']")
    write_scene(make_scene(9, size=200), folder / "mine.tif")
    with new_picture(page, "image"):
        page.locator(".rs-upload input").set_input_files(folder / "mine.tif")
    type_in(page, "words", TOO_MANY)
    wait_until_told(page, "at most 24")


@pytest.mark.parametrize("address", ("http://example.org/", "http://127.0.0.1.example.org/"))
def test_nothing_but_this_machine_is_reached(browser, address):
    with new_page(browser) as page, pytest.raises(Exception, match="ERR_FAILED|ERR_NAME_NOT_RESOLVED"):
        page.goto(address)
