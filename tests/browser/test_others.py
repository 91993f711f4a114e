"""The other explorers, driven in JupyterLab: results, loss playground, rating."""
from dataclasses import asdict

import numpy as np
import pytest
from conftest import SHOTS, changes, choose, control, press_button, shoot, shown, slide

from rs_zeroseg.data.pocket import DOMAINS
from rs_zeroseg.evidence.experiments import STAND_INS, map_text, pack, recipe
from rs_zeroseg.evidence.ledger import add_runs
from rs_zeroseg.evidence.paper import DATASET_COLUMNS
from rs_zeroseg.evidence.tables import settings_of

TABLES = (
    "Lambda (Table 6)",
    "Ablations (Table 2)",
    "Backbones (Table 5)",
    "Base and novel (Table 4)",
    "Efficiency (Figure 4)",
    "Training sources (Figure 3)",
    "Freezing (Table 3)",
)


def new_picture(page, explorer, nth=0):
    "What is done in the block changes the nth picture of an explorer."
    script = "([explorer, nth]) => document.querySelectorAll(explorer + ' .rs-picture img')[nth].src"

    def source():
        return page.evaluate(script, [explorer, nth])

    return changes(source, lambda: f"picture {nth} of {explorer}")


def invented(setting, score):
    "A run with made-up numbers: one for all words, others for each tier."
    tiers = {metric: score + n for n, metric in enumerate(("mIoU", "base", "novel", "unseen"))}
    labels = np.arange(192*192).reshape(192, 192)//2000
    areas = {column: pack(np.ones((1, 3, len(DOMAINS[domain].words), 3))) for column, domain in STAND_INS.items()}
    return dict(setting=asdict(setting), metrics=dict.fromkeys(DATASET_COLUMNS, tiers), map=map_text(labels),
                areas=areas, curve=[dict(step=25, loss=2.), dict(step=50, loss=1.)], recipe=recipe(setting),
                commit="none", seconds=0., threads=1)


RESULTS = "from rs_zeroseg.use.results import ResultsExplorer\nResultsExplorer()"


def test_results_of_the_package(lab, browser):
    "Before any run of one's own. The screenshot that this leaves is shown in the notebook."
    with shown(lab, browser, "results-package", RESULTS, ".rs-results .rs-picture img") as page:
        assert control(page, ".rs-results", "table").is_visible()


@pytest.fixture(scope="module")
def results(lab, browser):
    "The explorer of results, in a folder whose own ledger has a run for each row of Table 3."
    for n, setting in enumerate(settings_of("table3").values()):
        add_runs([invented(setting, 20. + n)], lab[1]/"runs"/"ledger.jsonl")
    with shown(lab, browser, "results", RESULTS, ".rs-results .rs-picture img") as page:
        yield page


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_a_picture(results, table):
    with new_picture(results, ".rs-results"):
        choose(results, ".rs-results", "table", table)

    results.wait_for_timeout(300)
    results.screenshot(path=SHOTS / f"results-{table.split()[0].lower()}.png")
    if table == "Lambda (Table 6)":
        assert control(results, ".rs-results", "row").evaluate("list => list.value")


def test_a_data_set_words_and_a_run_are_chosen(results):
    with new_picture(results, ".rs-results"):
        choose(results, ".rs-results", "data set", "Potsdam")
    with new_picture(results, ".rs-results"):
        choose(results, ".rs-results", "words", "novel words")
    choose(results, ".rs-results", "row", "Attention / Freeze")
    results.wait_for_timeout(500)
    with new_picture(results, ".rs-results", 1):
        control(results, ".rs-results", "run").select_option(index=1)

    shoot(results, "results")


def test_a_short_run_is_cancelled_and_made(results):
    press_button(results, ".rs-results", "run this one now")
    results.wait_for_selector('.rs-results button:has-text("cancel"):enabled')
    results.wait_for_timeout(500)
    press_button(results, ".rs-results", "cancel")
    results.wait_for_selector(".rs-results :text('cancelled after')")

    press_button(results, ".rs-results", "run this one now")
    results.wait_for_selector(".rs-results :text('steps 60')", timeout=240_000)


def test_losses(lab, browser):
    source = "from rs_zeroseg.use.playground import LossPlayground\nLossPlayground()"
    with shown(lab, browser, "losses", source, ".rs-losses .rs-picture img") as page:
        for i in range(3):
            with new_picture(page, ".rs-losses"):
                slide(page, ".rs-losses", i)
        with new_picture(page, ".rs-losses"):
            choose(page, ".rs-losses", "distance D", "contrastive")
        shoot(page, "losses")
        scene = page.locator(".rs-losses input[type=number]")
        with new_picture(page, ".rs-losses"):
            scene.fill("7")
            scene.press("Enter")


RATING = """
import numpy as np

from rs_zeroseg.data.pocket import make_scene
from rs_zeroseg.use.rating import Item, RatingPanel

maps = {name: np.full((64, 64), k) for k, name in enumerate(("one", "two"))}
items = [Item(f"scene-{seed}", make_scene(seed, size=64).image, ["road", "tree"], maps) for seed in (1, 2)]
RatingPanel(items, "guest-01")
"""


def wait_until_said(page, text):
    page.wait_for_selector(f".rs-rating :text('{text}')")


def test_rating(lab, browser):
    with shown(lab, browser, "rating", RATING, ".rs-rating .rs-keys") as page:
        keys = page.locator(".rs-rating .rs-keys")
        keys.press("4")
        wait_until_said(page, "1 of 12 answered")
        keys.press("Backspace")
        wait_until_said(page, "you said 4")
        keys.press("2")
        wait_until_said(page, "1 of 12 answered")
        press_button(page, ".rs-rating", "5")
        wait_until_said(page, "2 of 12 answered")
        press_button(page, ".rs-rating", "back")
        wait_until_said(page, "you said 5")
        shoot(page, "rating")

    # another day
    with shown(lab, browser, "rating-again", RATING, ".rs-rating .rs-keys") as page:
        wait_until_said(page, "2 of 12 answered")
        keys = page.locator(".rs-rating .rs-keys")
        for i in range(3, 13):
            keys.press("3")
            wait_until_said(page, f"{i} of 12 answered")
        wait_until_said(page, "Thank you")
