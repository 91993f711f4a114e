"""The attention explorer in JupyterLab, driven in a real browser; requests to anything but localhost are blocked. Run it by `make test-browser`."""
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "out" / "browser"                       # screenshots, ignored by git
sync_api = pytest.importorskip("playwright.sync_api", reason="run `make test-browser`, which installs what it needs")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SETTINGS = {"notebook-extension/tracker": {"windowingMode": "none"}, "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}
LOCAL = ("http://127.0.0.1", "ws://127.0.0.1", "blob:", "data:")


def widget_notebook(path):
    "The cell of 19_explore that shows the explorer, in a notebook of its own."
    cells = json.loads((ROOT / "nbs" / "19_explore.ipynb").read_text(encoding="utf-8"))["cells"]
    source = [c for c in cells if "AttentionExplorer()" in "".join(c["source"]) and "#| notest" in "".join(c["source"])][0]["source"]
    cell = dict(cell_type="code", id="explorer", metadata={}, execution_count=None, outputs=[], source=["from rs_zeroseg.explore import AttentionExplorer\n", *source])
    path.write_text(json.dumps(dict(cells=[cell], metadata=dict(kernelspec=dict(name="python3", display_name="Python 3", language="python")), nbformat=4, nbformat_minor=5)))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    "JupyterLab with the explorer shown."
    if CHROMIUM is None: pytest.fail("no Chromium: install it (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("lab"); widget_notebook(folder / "x.ipynb"); SHOTS.mkdir(parents=True, exist_ok=True)
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"; file.parent.mkdir(parents=True, exist_ok=True); file.write_text(json.dumps(values))
    with socket.socket() as s: s.bind(("127.0.0.1", 0)); port = s.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root", "--IdentityProvider.token=key",
                               f"--LabApp.user_settings_dir={folder/'settings'}", f"--LabApp.workspaces_dir={folder/'workspaces'}"], cwd=folder,
                              env=dict(os.environ, OMP_NUM_THREADS="1"), stdout=subprocess.DEVNULL, stderr=(SHOTS / "lab.log").open("w"))
    try:
        for _ in range(120):
            try: urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token=key", timeout=2); break
            except OSError: time.sleep(.5)
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"])
            page = browser.new_page(viewport=dict(width=1280, height=720)); page.set_default_timeout(60_000)
            page.route("**/*", lambda r: r.continue_() if r.request.url.startswith(LOCAL) else r.abort())
            page.goto(f"http://127.0.0.1:{port}/lab/tree/x.ipynb?token=key")
            page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
            for _ in range(10):                                                                # a cell run before the kernel listens is forgotten
                page.click(".jp-Cell .cm-content"); page.keyboard.press("Control+Enter"); page.wait_for_timeout(3000)
                if page.locator(".jp-InputPrompt").first.inner_text().strip() != "[ ]:": break
            try: page.wait_for_selector(".rs-explorer .rs-picture img", timeout=90_000)
            finally: page.screenshot(path=SHOTS / "start.png")
            yield page
            browser.close()
    finally:
        server.terminate(); server.wait(30)


def box(page, name): return page.locator(f'.rs-explorer .widget-text:has(label:text-is("{name}")) input')


def pictures(page):
    "caption -> PNG, as the browser has them."
    script = """async () => Promise.all([...document.querySelectorAll('.rs-explorer .rs-picture')].map(async p =>
        [p.querySelector('.rs-caption').textContent, [...new Uint8Array(await (await fetch(p.querySelector('img').src)).arrayBuffer())]]))"""
    return {caption: bytes(png) for caption, png in page.evaluate(script)}


def type_words(page, words):
    box(page, "words").fill(words); box(page, "words").press("Enter")


def changed(page, act, part):
    "The PNG of the picture whose caption holds `part`, before and after `act`; waits until it differs."
    find = lambda: next((png for caption, png in pictures(page).items() if part in caption), None)
    before = find(); act()
    for _ in range(100):
        if find() not in (None, before): return before, find()
        time.sleep(.1)
    raise AssertionError(f"nothing happened to the picture of {part!r}")


def test_a_typed_word_shows_its_attention(page):
    from rs_zeroseg import load
    from rs_zeroseg.explore import Reading, heat_picture, read_source, to_png
    _, shown = changed(page, lambda: type_words(page, "road, lagoon"), "lagoon (unseen)")
    reading = Reading(load("pocket"), *read_source("1000003")); attention = reading.ask(["lagoon"])[0].attention
    drawn, expected = (np.asarray(Image.open(io.BytesIO(png))).astype(int) for png in (shown, to_png(heat_picture(reading.image, attention, opacity=.65))))
    assert drawn.shape == expected.shape and abs(drawn - expected).max() <= 2          # another thread count may round elsewhere


def test_every_control(page):
    type_words(page, "road, building"); page.wait_for_selector('.rs-caption:has-text("building")')
    view = lambda name: page.locator(f'.rs-explorer .widget-toggle-button:has-text("{name}")').click()
    changed(page, lambda: view("S_k"), "building"); changed(page, lambda: view("A_k"), "building")
    changed(page, lambda: page.locator(".rs-explorer select").select_option("viridis"), "building")
    slider = lambda i: page.locator(".rs-explorer .noUi-handle").nth(i)
    changed(page, lambda: slider(0).press("ArrowRight"), "building")                    # opacity
    changed(page, lambda: [slider(1).press("ArrowRight") for _ in range(5)], "map, threshold")
    changed(page, lambda: (box(page, "image").fill("1000007"), box(page, "image").press("Enter")), "image")
    page.locator(".rs-picture img").nth(2).click(position=dict(x=100, y=60)); page.wait_for_selector(".rs-explorer :text('it looks like')")
    assert page.locator(".rs-cross:visible").count() == 4                                # image, map and two words
    said = page.locator(".rs-explorer :text('pixel, row')").inner_text()
    page.locator(".rs-box").nth(2).press("ArrowDown"); page.wait_for_function("t => ![...document.querySelectorAll('.rs-explorer')].some(e => e.innerText.includes(t))", arg=said.splitlines()[0])
    for width, height in ((1280, 720), (1920, 1080)):
        page.set_viewport_size(dict(width=width, height=height)); page.wait_for_timeout(500); page.screenshot(path=SHOTS / f"explorer-{width}.png")
    page.locator('.rs-explorer button:has-text("code")').click(); page.wait_for_selector(".rs-explorer pre:has-text('read_source')")


def test_a_mistake_is_told_and_the_pictures_stay(page):
    type_words(page, "road, building"); page.wait_for_selector('.rs-caption:has-text("building")'); page.wait_for_timeout(500); before = pictures(page)
    for words, told in ((" , ", "at least one word"), ("road, Road", "given twice"), (", ".join(f"w{i}" for i in range(500)), "at most 24")):
        type_words(page, words); page.wait_for_selector(f".rs-explorer b:has-text('{told}')")
        assert pictures(page) == before
    type_words(page, "road, building"); page.wait_for_function("() => !document.querySelector('.rs-explorer b')")
    box(page, "image").fill("nowhere.tif"); box(page, "image").press("Enter"); page.wait_for_selector(".rs-explorer b:has-text('no such file')")
    assert pictures(page) == before
