"""A JupyterLab, a browser that may talk to localhost only, and ways to show and to use a widget.

Run by `make test-browser`."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "out" / "browser"                       # screenshots, ignored by git
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "blob:", "data:")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SIZES = ((1280, 720), (1920, 1080))                    # a laptop and a projector


# Servers

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_answer(address):
    "Return when a server answers, be it with an error, or after a minute."
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/static/favicon.ico", timeout=2)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(.5)


@contextmanager
def serving(command, port, log, cwd):
    "A server process, from its first answer on."
    env = dict(os.environ, OMP_NUM_THREADS="1")
    with (SHOTS / log).open("w") as said:
        server = subprocess.Popen([sys.executable, *command], cwd=cwd, env=env, stdout=said, stderr=said)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for_answer(address)
        yield address
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="session")
def lab(tmp_path_factory, browser):
    "(address, folder) of a JupyterLab."
    folder, port = tmp_path_factory.mktemp("lab"), free_port()
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    command = [
        "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root",
        "--IdentityProvider.token=key",
        f"--LabApp.user_settings_dir={folder / 'settings'}",
        f"--LabApp.workspaces_dir={folder / 'workspaces'}",
    ]
    with serving(command, port, "lab.log", folder) as address:
        yield address, folder


# Pages

@pytest.fixture(scope="session")
def browser():
    why = "run `make test-browser`, which installs what it needs"
    sync_api = pytest.importorskip("playwright.sync_api", reason=why)
    if CHROMIUM is None:
        pytest.fail("no Chromium: install it (Debian: apt-get install chromium)")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def only_local(route):
    "Let a request through to this machine, and nowhere else."
    if route.request.url.startswith(LOCAL):
        route.continue_()
    else:
        route.abort()


@contextmanager
def new_page(browser):
    "A page; every request but to localhost is blocked."
    page = browser.new_page(viewport=dict(width=1280, height=720))
    page.set_default_timeout(90_000)
    page.route("**/*", only_local)
    try:
        yield page
    finally:
        page.close()


def accept(dialog):
    "JupyterLab asks something: say yes."
    print("JupyterLab asked:", dialog.inner_text())
    dialog.locator(".jp-mod-accept").click()


def write_notebook(path, source):
    "A notebook with one cell."
    cell = dict(cell_type="code", id=path.stem, metadata={}, execution_count=None, outputs=[], source=source)
    kernel = dict(name="python3", display_name="Python 3", language="python")
    notebook = dict(cells=[cell], metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)
    path.write_text(json.dumps(notebook))


def run_first_cell(page):
    "A cell that is run before the kernel listens is forgotten, so it is run until it has a number."
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
    for _ in range(10):
        page.click(".jp-Cell .cm-content")
        page.keyboard.press("Control+Enter")
        page.wait_for_timeout(3000)
        if page.locator(".jp-InputPrompt").first.inner_text().strip() != "[ ]:":
            return


@contextmanager
def shown(lab, browser, name, source, selector):
    "A page of JupyterLab with a cell that was run and shows a widget."
    address, folder = lab
    write_notebook(folder / f"{name}.ipynb", source)
    with new_page(browser) as page:
        page.add_locator_handler(page.locator(".jp-Dialog"), accept)
        page.goto(f"{address}/lab/tree/{name}.ipynb?token=key&reset")
        run_first_cell(page)
        try:
            page.wait_for_selector(selector)
        finally:
            page.screenshot(path=SHOTS / f"{name}-start.png")
        yield page


def shoot(page, name):
    "Screenshots at the two sizes of a laptop and a projector."
    for width, height in SIZES:
        page.set_viewport_size(dict(width=width, height=height))
        page.wait_for_timeout(500)
        page.screenshot(path=SHOTS / f"{name}-{width}.png")


# Controls of an explorer, which is named by its class: '.rs-explorer'

def control(page, explorer, name):
    "The box or the list with a label."
    labelled = f'{explorer} .widget-inline-hbox:has(label:text-is("{name}"))'
    return page.locator(f"{labelled} >> input, select").first


def choose(page, explorer, name, option):
    control(page, explorer, name).select_option(option)


def press_button(page, explorer, name):
    page.locator(f'{explorer} button:has-text("{name}")').click()


def slide(page, explorer, i, times=1):
    "Move the i-th slider a step to the right."
    for _ in range(times):
        page.locator(f"{explorer} .noUi-handle").nth(i).press("ArrowRight")


@contextmanager
def changes(find, told):
    "What is done in the block changes what `find()` gives, within half a minute; `told()` says more if it does not."
    before = find()
    yield
    for _ in range(300):
        if find() not in (None, before):
            return
        time.sleep(.1)
    raise AssertionError(f"nothing changed: {told()}")
