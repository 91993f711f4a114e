"From runs to verdicts: pairs, intervals, corrections, the rule, and which runs count."
import shlex
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
from test_repo import ROOT

from rs_zeroseg.evidence import sweep as sweeps
from rs_zeroseg.evidence.claims import NOT_HERE, ahead, claim_table, claimed_differences, judge
from rs_zeroseg.evidence.experiments import STAND_INS, Setting, pack, recipe
from rs_zeroseg.evidence.ledger import current
from rs_zeroseg.evidence.paper import claim_audit
from rs_zeroseg.evidence.statistics import compare, holm, mean_iou, scene_draws, verdict, verdict_of_all
from rs_zeroseg.evidence.sweep import fastest_side_by_side, paper_commands, plan
from rs_zeroseg.evidence.tables import REFERENCES, ROWS, contrast, ours, settings_of, shared_seeds, terms_of, words_of
from rs_zeroseg.use.training_commands import finetune


def run_of(setting, *iou):
    "An invented run whose words all have the IoU `iou[i]`, percent, in scene i; without an IoU: 40 in two scenes."
    iou = iou or (40, 40)
    areas = {}
    for column in STAND_INS:
        one = np.empty((len(iou), *words_of(column, "mIoU").shape, 3), int)
        one[..., :2], one[..., 2] = np.array(iou)[:, None, None, None], 100
        areas[column] = pack(one)
    metrics = {column: dict.fromkeys(("mIoU", "base", "novel", "unseen"), float(np.mean(iou))) for column in STAND_INS}
    return dict(setting=asdict(setting), recipe=recipe(setting), areas=areas, metrics=metrics)


def difference(*pairs, **fields):
    "The contrast of lambda 0 to the default, from pairs of scores by seed."
    other = Setting(lam=0.)
    records = [run_of(replace(setting, seed=seed), score) for seed, pair in enumerate(pairs)
               for setting, score in zip((Setting(), other), pair) if score is not None]
    return contrast([*terms_of(1, Setting()), *terms_of(-1, other)], current(records))


def test_differences_are_paired_by_seed():
    "Scores vary by 20 points between seeds, their differences by half a point."
    found = difference((20, 18), (40, 38), (30, 29))

    assert found.mean == pytest.approx(5/3) and found.n == 3
    assert found.high - found.low < 6 and found.low < 5/3 < found.high


def test_a_seed_without_a_partner_does_not_count():
    found = difference((40, 38), (41, 39), (42, 40), (90, None))

    assert (found.n, found.mean) == (3, pytest.approx(2))


def test_two_seeds_have_a_mean_and_no_interval():
    found = difference((40, 38), (41, 39))

    assert found.mean == 2 and np.isnan(found.low) and np.isnan(found.p)
    assert verdict(found, found.p) == "too few runs"


def test_other_scenes_widen_the_interval():
    "Both settings agree on one scene and differ by 20 points on the other, in every seed."
    records = []
    for seed in range(3):
        records.append(run_of(Setting(seed=seed), 40 + seed, 60 + seed))
        records.append(run_of(Setting(lam=0., seed=seed), 40 + seed, 40 + seed))
    terms = [*terms_of(1, Setting()), *terms_of(-1, Setting(lam=0.))]

    found = contrast(terms, current(records))

    assert found.mean == pytest.approx(10)
    assert found.high - found.low > 20, "the seeds agree, but two scenes are few"


def test_the_draws_of_scenes_are_those_of_every_seed_and_setting():
    assert (scene_draws(12) == scene_draws(12)).all()
    assert (scene_draws(12).sum(1) == 12).all() and scene_draws(12).std() > 0


def test_miou_is_the_mean_over_words_of_summed_counts():
    "Word 1: 10 of 30; word 2: 20 of 20; word 3 occurs nowhere and was answered once."
    areas = np.array([[[10, 20, 10], [0, 0, 0], [0, 5, 0]], [[0, 0, 10], [20, 20, 20], [0, 0, 0]]])

    assert mean_iou(areas)[0] == pytest.approx((100*10/30 + 100)/2)


@pytest.mark.parametrize("values, p, said", [
    ([2., 2.1, 1.9], .04, "holds"), ([-2., -2.1, -1.9], .04, "fails"), ([2., 2.1, 1.9], .06, "not resolved"),
    ([-2., -2.1, -1.9], .06, "not resolved"), ([2., 2.], .001, "too few runs")])
def test_the_rule(values, p, said):
    assert verdict(compare(values), p) == said


def test_one_failing_difference_is_enough():
    assert verdict_of_all(["holds", "not resolved", "fails"]) == "fails"
    assert verdict_of_all(["holds", "not resolved"]) == "not resolved"
    assert verdict_of_all(["holds", "too few runs", "not resolved"]) == "too few runs"


def test_many_questions_are_corrected_by_holm():
    "Worked by hand: .02*3, then .03*2 raised to .06, then .5*1; nan is no question."
    assert holm([.5, .02, np.nan, .03]) == pytest.approx([.5, .06, np.nan, .06], nan_ok=True)


def test_a_claim_of_several_differences_is_corrected_over_all_of_them():
    others = {f"lambda {lam}": Setting(lam=lam) for lam in (0., .1, .3, .4)}
    records = [run_of(Setting(seed=seed), 40 + seed) for seed in range(3)]
    records += [run_of(replace(other, seed=seed), 38 + seed + (seed == 1))
                for other in others.values() for seed in range(3)]

    said, table = judge(ahead(Setting(), others), current(records))
    alone = contrast(ahead(Setting(), others)["over lambda 0.1, Avg"], current(records))

    assert table.p.iloc[1] == pytest.approx(min(1, 4*alone.p)) and said == "not resolved"


def test_a_run_of_another_recipe_is_not_drawn():
    fresh, stale = run_of(Setting(lam=.1)), run_of(Setting(lam=.3)) | {"recipe": "0"*12}

    assert list(current([fresh, stale])) == [Setting(lam=.1)]
    assert set(ours("table6", [fresh, stale])["row"]) == {.1}
    assert Setting(lam=.3) in plan(["table6"], current([fresh, stale]), seeds=1), "it is made again"


def test_every_table_has_its_reference_and_no_row_twice():
    for table in ROWS:
        settings = settings_of(table)
        assert settings[REFERENCES[table]] == Setting()
        assert len(set(settings.values())) == len(settings)


def test_seeds_are_those_that_all_settings_have():
    runs = current([run_of(Setting(seed=seed)) for seed in (0, 1, 2)] + [run_of(Setting(lam=0., seed=1))])

    assert shared_seeds([Setting(), Setting(lam=0.)], runs) == [1]
    assert shared_seeds([Setting(lam=.4)], runs) == []


def test_every_claim_of_the_audit_is_tested_or_has_a_reason():
    beginnings = [*claimed_differences(), *NOT_HERE]

    for claim in claim_audit()["claim"]:
        assert sum(claim.startswith(start) for start in beginnings) == 1, claim
    assert len(beginnings) == len(claim_audit())


def test_the_table_of_claims_without_runs_has_no_verdict():
    said = claim_table([])["pocket"]

    assert set(said[~said.str.startswith("not tested")]) == {"too few runs"}


@pytest.mark.parametrize("table", ["table1", "table2", "table3", "table5", "table6"])
def test_the_commands_of_a_workstation_are_commands(table):
    "Each line is parsed by the command that it names, and no two of them share a folder."
    lines = [shlex.split(line) for line in paper_commands(table, 2)]

    given = [finetune.make_context("finetune", words[2:]).params for words in lines]

    assert [words[:2] for words in lines] == [["rs_zeroseg", "finetune"]]*len(lines)
    assert len({str(one["out"]) for one in given}) == len(lines)
    assert {one["seed"] for one in given} == {0, 1}
    made = (ROOT/"README.md").read_text(encoding="utf-8")
    assert {one["data"].as_posix() for one in given} == {"data/landdiscover50k/train"}
    assert "--data data/landdiscover50k/train" in made, "where the README puts it"


# ---- how many runs at a time

class Pool:
    "Stands in for `processes`: so many runs side by side take as long as `SECONDS` says."
    SECONDS = {}

    def __init__(self, jobs):
        self.jobs = jobs

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def map(self, make, probes):
        assert len(probes) == self.jobs
        time.sleep(self.SECONDS[self.jobs])
        return []


@pytest.mark.parametrize("seconds, best", [({1: .05, 2: .06, 4: .06}, 4), ({1: .05, 2: .06, 4: .4}, 2),
                                           ({1: .05, 2: .2, 4: .4}, 1)])
def test_the_trial_finds_how_many_runs_at_a_time_are_fastest(monkeypatch, seconds, best):
    monkeypatch.setattr(sweeps, "processes", Pool)
    monkeypatch.setattr(sweeps.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(Pool, "SECONDS", seconds)
    assert fastest_side_by_side() == best
