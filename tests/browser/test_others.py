"""The other explorers, driven in JupyterLab: results, loss playground, rating."""
import time

from conftest import SHOTS, shoot, shown


def src(page, part, nth=0): return page.evaluate("([part, nth]) => document.querySelectorAll(part + ' .rs-picture img')[nth].src", [part, nth])


def changes(page, part, act, nth=0):
    "A new picture is shown after `act`."
    before = src(page, part, nth); act()
    for _ in range(300):
        if src(page, part, nth) != before: return
        time.sleep(.1)
    raise AssertionError(f"the picture of {part} did not change")


def pick(page, part, name, option): page.locator(f'{part} .widget-dropdown:has(label:text-is("{name}")) select').select_option(option)


def test_results(lab, browser):
    with shown(lab, browser, "results", "from rs_zeroseg.use.results import ResultsExplorer\nResultsExplorer()", ".rs-results .rs-picture img") as page:
        for table in ("Lambda (Table 6)", "Ablations (Table 2)", "Backbones (Table 5)", "Base and novel (Table 4)", "Efficiency (Figure 4)", "Training sources (Figure 3)", "Freezing (Table 3)"):
            changes(page, ".rs-results", lambda: pick(page, ".rs-results", "table", table)); page.wait_for_timeout(300)
            page.screenshot(path=SHOTS / f"results-{table.split()[0].lower()}.png")
            if "(Table 6)" in table: assert page.locator('.rs-results .widget-dropdown:has(label:text-is("row")) select').evaluate("s => s.value")
        changes(page, ".rs-results", lambda: pick(page, ".rs-results", "data set", "Potsdam")); changes(page, ".rs-results", lambda: pick(page, ".rs-results", "words", "novel words"))
        pick(page, ".rs-results", "row", "Attention / Freeze"); page.wait_for_timeout(500)
        changes(page, ".rs-results", lambda: page.locator('.rs-results .widget-dropdown:has(label:text-is("run")) select').select_option(index=1), 1); shoot(page, "results")
        page.locator('.rs-results button:has-text("run this one now")').click(); page.wait_for_selector('.rs-results button:has-text("cancel"):enabled'); page.wait_for_timeout(500)
        page.locator('.rs-results button:has-text("cancel")').click(); page.wait_for_selector(".rs-results :text('cancelled after')")
        page.locator('.rs-results button:has-text("run this one now")').click(); page.wait_for_selector(".rs-results :text('steps 60')", timeout=240_000)


def test_losses(lab, browser):
    with shown(lab, browser, "losses", "from rs_zeroseg.use.playground import LossPlayground\nLossPlayground()", ".rs-losses .rs-picture img") as page:
        for i in range(3): changes(page, ".rs-losses", lambda: page.locator(".rs-losses .noUi-handle").nth(i).press("ArrowRight"))
        changes(page, ".rs-losses", lambda: pick(page, ".rs-losses", "distance D", "contrastive")); shoot(page, "losses")
        scene = page.locator(".rs-losses input[type=number]"); changes(page, ".rs-losses", lambda: (scene.fill("7"), scene.press("Enter")))


RATING = """import numpy as np
from rs_zeroseg.data.pocket import make_scene
from rs_zeroseg.use.rating import Item, RatingPanel
items = [Item(f"scene-{s}", make_scene(s, size=64).image, ["road", "tree"], {n: np.full((64, 64), k) for k, n in enumerate(("one", "two"))}) for s in (1, 2)]
RatingPanel(items, "guest-01")"""


def test_rating(lab, browser):
    with shown(lab, browser, "rating", RATING, ".rs-rating .rs-keys") as page:
        keys = page.locator(".rs-rating .rs-keys"); said = lambda text: page.wait_for_selector(f".rs-rating :text('{text}')")
        keys.press("4"); said("1 of 12 answered"); keys.press("Backspace"); said("you said 4"); keys.press("2"); said("1 of 12 answered")
        page.locator('.rs-rating button:has-text("5")').click(); said("2 of 12 answered"); page.locator('.rs-rating button:has-text("back")').click(); said("you said 5"); shoot(page, "rating")
    with shown(lab, browser, "rating-again", RATING, ".rs-rating .rs-keys") as page:
        page.wait_for_selector(".rs-rating :text('2 of 12 answered')"); keys = page.locator(".rs-rating .rs-keys")        # another day
        for i in range(3, 13): keys.press("3"); page.wait_for_selector(f".rs-rating :text('{i} of 12 answered')")
        page.wait_for_selector(".rs-rating :text('Thank you')")
