"""The steps of a training that can come with the package: what the tool keeps, and what the explorer makes of it."""
import copy
from pathlib import Path

import pytest
from modules import module_at

from rs_zeroseg.model.checkpoint import save
from rs_zeroseg.use import view
from rs_zeroseg.use.choices import UNTRAINED, model_named

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def tool():
    return module_at(ROOT / "tools" / "ship_snapshots.py")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A run with two snapshots: before training, and with the shipped model's head."
    folder, start = tmp_path_factory.mktemp("run"), model_named(UNTRAINED)
    trained = copy.deepcopy(start)
    for part in ("dsfe", "mscam", "head"):
        getattr(trained, part).load_state_dict(getattr(model_named("pocket"), part).state_dict())
    save(start, folder / "snapshots" / "step-000000", half=True)
    save(trained, folder / "snapshots" / "step-000030", half=True)
    return folder


def test_small_files_are_kept_and_shown(tool, run, tmp_path, monkeypatch):
    first, second = tool.ship(run, tmp_path/"watch")
    assert first.stat().st_size < 1000 and second.stat().st_size < .7e6       # nothing changed; the head
    monkeypatch.setattr(view, "WATCH", tmp_path/"watch")
    steps = view.AttentionView().page["steps"]
    assert [step["title"] for step in steps] == ["step 0", "step 30", "trained (pocket)"]


def test_a_folder_with_something_else_is_left_alone(tool, run, tmp_path):
    (tmp_path/"model.safetensors").write_text("a model")
    with pytest.raises(ValueError, match="holds model.safetensors, which is no step"):
        tool.ship(run, tmp_path)
    assert (tmp_path/"model.safetensors").read_text() == "a model"


def test_files_that_are_too_large_are_not_kept(tool, run, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "MOST_BYTES", 1e6)
    with pytest.raises(ValueError, match="may have 1 MB; train with frozen streams"):
        tool.ship(run, tmp_path/"watch")
    assert list(tmp_path.iterdir()) == []
