"""The documentation site on a phone and on a laptop. It is opened if it was built: `make docs`."""
import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT, SHOTS, new_page

HTML = ROOT / "out" / "docs" / "_build" / "html"
PAGES = (
    "nbs/index.html", "nbs/2_model/07_carh.html", "docs/guides/01_segment_my_geotiff.html", "docs/api/model/carh.html",
    "docs/architecture.html", "docs/gallery.html", "docs/glossary.html", "search.html?q=attention+map",
)


class Quiet(SimpleHTTPRequestHandler):
    "A server of files that says nothing."
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site():
    "Address of the built site."
    if not (HTML / "index.html").is_file():
        pytest.skip("no site here: run `make docs` first")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize("width", [375, 1440])
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.partition(".")[0].replace("/", "_"))
def test_page_fits_and_says_no_error(site, browser, path, width):
    with new_page(browser) as page:
        told = []
        page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("requestfailed", lambda request: told.append(request.url))
        page.set_viewport_size(dict(width=width, height=1000))
        page.goto(f"{site}/{path}")
        if "search" in path:
            page.wait_for_selector("#search-results li .context")
        page.screenshot(path=SHOTS / f"docs-{path.partition('.')[0].replace('/', '_')}-{width}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert told == []


def test_search_finds_attention_map(site, browser):
    with new_page(browser) as page:
        page.goto(f"{site}/search.html?q=attention+map")
        page.wait_for_selector("#search-results li a")
        page.wait_for_function("document.querySelector('#search-results .search-summary').innerText.includes('found')")
        found = page.locator("#search-results li > a").all_inner_texts()
        assert "Category-adaptive refinement head" in found and "Glossary" in found
