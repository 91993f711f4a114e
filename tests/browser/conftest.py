"""A JupyterLab, a browser that may talk to localhost only, and a way to show a widget. Run by `make test-browser`."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "out" / "browser"                       # screenshots, ignored by git
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SETTINGS = {"notebook-extension/tracker": {"windowingMode": "none"}, "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}
LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "blob:", "data:")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


@contextmanager
def serving(command, port, log, cwd):
    "A server process, from its first answer on."
    with (SHOTS / log).open("w") as said: server = subprocess.Popen([sys.executable, *command], cwd=cwd, env=dict(os.environ, OMP_NUM_THREADS="1"), stdout=said, stderr=said)
    try:
        for _ in range(120):
            try: urllib.request.urlopen(f"http://127.0.0.1:{port}/static/favicon.ico", timeout=2); break
            except urllib.error.HTTPError: break
            except OSError: time.sleep(.5)
        yield f"http://127.0.0.1:{port}"
    finally: server.terminate(); server.wait(30)


def free_port():
    with socket.socket() as s: s.bind(("127.0.0.1", 0)); return s.getsockname()[1]


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="run `make test-browser`, which installs what it needs")
    if CHROMIUM is None: pytest.fail("no Chromium: install it (Debian: apt-get install chromium)")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def new_page(browser):
    "A page; every request but to localhost is blocked."
    page = browser.new_page(viewport=dict(width=1280, height=720)); page.set_default_timeout(90_000)
    page.route("**/*", lambda r: r.continue_() if r.request.url.startswith(LOCAL) else r.abort())
    yield page
    page.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory, browser):
    "(address, folder) of a JupyterLab."
    folder, port = tmp_path_factory.mktemp("lab"), free_port()
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"; file.parent.mkdir(parents=True, exist_ok=True); file.write_text(json.dumps(values))
    command = ["-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root", "--IdentityProvider.token=key", f"--LabApp.user_settings_dir={folder/'settings'}", f"--LabApp.workspaces_dir={folder/'workspaces'}"]
    with serving(command, port, "lab.log", folder) as address: yield address, folder


@contextmanager
def shown(lab, browser, name, source, selector):
    "A page of JupyterLab with a cell that was run and shows a widget."
    address, folder = lab
    cell = dict(cell_type="code", id=name, metadata={}, execution_count=None, outputs=[], source=source)
    kernel = dict(name="python3", display_name="Python 3", language="python")
    (folder / f"{name}.ipynb").write_text(json.dumps(dict(cells=[cell], metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)))
    with new_page(browser) as page:
        page.goto(f"{address}/lab/tree/{name}.ipynb?token=key&reset"); page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        for _ in range(10):                                                                # a cell run before the kernel listens is forgotten
            page.click(".jp-Cell .cm-content"); page.keyboard.press("Control+Enter"); page.wait_for_timeout(3000)
            if page.locator(".jp-InputPrompt").first.inner_text().strip() != "[ ]:": break
        try: page.wait_for_selector(selector)
        finally: page.screenshot(path=SHOTS / f"{name}-start.png")
        yield page


def shoot(page, name):
    "Screenshots at the two sizes of a laptop and a projector."
    for width, height in ((1280, 720), (1920, 1080)):
        page.set_viewport_size(dict(width=width, height=height)); page.wait_for_timeout(500); page.screenshot(path=SHOTS / f"{name}-{width}.png")
