"""The explorer for a lecture in JupyterLab, with the kernel behind it."""
import json
import string

import numpy as np
import pytest
from conftest import SHOTS, free_port, new_page, serving, shown
from PIL import Image

from rs_zeroseg.data.pocket import make_scene
from rs_zeroseg.use.export import SCENES
from rs_zeroseg.use.view import WATCH

SOURCE = "from rs_zeroseg.use.view import AttentionView\nAttentionView()"


@pytest.fixture(scope="module")
def page(lab, browser):
    with shown(lab, browser, "view", SOURCE, ".rsx .rsx-chip") as page:
        page.set_viewport_size(dict(width=1280, height=720))
        yield page


def text(page, part):
    return page.locator(f"[data-part={part}]").inner_text()


def wait_for_word(page, word):
    page.wait_for_function("word => document.querySelector('[data-part=word]').textContent === word", arg=word)


def pixels(page):
    return page.locator("[data-part=large] canvas").evaluate("canvas => canvas.toDataURL()")


def test_words_pixels_and_scenes(page):
    page.locator(".rsx").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    page.screenshot(path=SHOTS / "view-lab.png")
    assert "Of the words one is not in it: boat." in text(page, "about")

    page.fill("[data-part=new-word]", "farm buildings")
    page.press("[data-part=new-word]", "Enter")
    wait_for_word(page, "farm buildings")
    box = page.locator("[data-part=large]").bounding_box()
    page.locator("[data-part=large]").click(position=dict(x=box["width"]*.83, y=box["height"]*.28))
    page.wait_for_function("() => /court|tennis/.test(document.querySelector('[data-part=likeness]').textContent)")

    page.select_option("[data-part=scene]", SCENES[2].name)
    wait_for_word(page, SCENES[2].words[0])
    page.click("[data-part=view-probability]")
    before = pixels(page)
    page.select_option("[data-part=levels]", "0 0 0")
    page.wait_for_function("() => document.querySelector('.rsx').getAttribute('aria-busy') === 'false'")
    assert pixels(page) != before


def test_an_own_image(page, tmp_path):
    Image.fromarray(np.ascontiguousarray(make_scene(5, size=600).image)).save(tmp_path / "mine.png")
    page.set_input_files("[data-part=file]", tmp_path / "mine.png")
    page.wait_for_selector("[data-part=about]:has-text('mine.png, its middle square at 512 px')")
    page.fill("[data-part=new-word]", "lagoon")
    page.press("[data-part=new-word]", "Enter")
    wait_for_word(page, "lagoon")
    assert text(page, "error") == ""


def test_two_models_beside_each_other(page):
    page.locator(".rsx").focus()
    page.keyboard.press("a")
    page.keyboard.press("v")
    page.wait_for_selector("[data-part=large-beside]")
    page.select_option("[data-part=beside]", label="pocket-zero-shot")
    page.wait_for_selector("[data-part=beside-caption]:has-text('pocket-zero-shot has no Aₖ')")
    assert "pocket" in text(page, "large-caption")
    beside = page.locator("[data-part=large-beside] canvas")
    assert beside.evaluate("canvas => canvas.toDataURL()") != pixels(page)
    page.locator(".rsx").scroll_into_view_if_needed()
    page.screenshot(path=SHOTS / "view-compare.png")
    page.locator(".rsx").focus()
    page.keyboard.press("x")
    page.wait_for_selector("[data-part=beside-caption]:has-text('head untrained')")
    page.keyboard.press("v")


def test_the_steps_of_the_shipped_training(page):
    "R goes back to the model before its training, step by step, and T to the trained one again."
    page.locator(".rsx").focus()
    page.wait_for_selector("[data-part=step-value]:has-text('trained (pocket): ')")
    trained = pixels(page)
    steps = sorted(int(path.stem.removeprefix("step-")) for path in WATCH.iterdir())
    for step in reversed(steps):
        page.keyboard.press("r")
        page.wait_for_selector(f"[data-part=step-value]:has-text('step {step}: ')")
    assert steps[0] == 0 and pixels(page) != trained
    page.screenshot(path=SHOTS / "view-step-0.png")
    for _ in steps:
        page.keyboard.press("t")
    page.wait_for_selector("[data-part=step-value]:has-text('trained (pocket): ')")
    assert pixels(page) == trained


def test_no_key_reaches_the_notebook(page, lab):
    _, folder = lab
    page.locator(".rsx").focus()
    page.keyboard.press("l")
    page.wait_for_selector(".rsx-lecturing")
    page.wait_for_timeout(300)
    page.screenshot(path=SHOTS / "view-lecture.png")
    for key in (*string.ascii_lowercase, *string.ascii_uppercase, *string.digits, "Backspace", "Delete", "ArrowUp"):
        page.keyboard.press(key)
        page.keyboard.press("Escape")
        page.locator(".rsx").focus()
    assert page.locator(".jp-Cell").count() == 1
    assert page.locator(".jp-Cell .cm-content").inner_text().split() == SOURCE.split()
    page.keyboard.press("Control+s")
    kept = json.loads((folder / "view.ipynb").read_text(encoding="utf-8"))
    assert len(kept["cells"]) == 1


def test_the_page_for_a_classroom(browser, tmp_path):
    "What `rs_zeroseg lab --app view` serves: words, an own image, a comparison."
    port = free_port()
    command = ["-m", "rs_zeroseg", "lab", "--app", "view", "--no-browser", f"--port={port}"]
    with serving(command, port, "voila-view.log", tmp_path) as address, new_page(browser) as page:
        page.goto(f"{address}/")
        page.wait_for_selector(".rsx .rsx-chip")
        page.fill("[data-part=new-word]", "lagoon")
        page.press("[data-part=new-word]", "Enter")
        wait_for_word(page, "lagoon")
        test_an_own_image(page, tmp_path)
        test_two_models_beside_each_other(page)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        page.screenshot(path=SHOTS / "voila-view.png")
