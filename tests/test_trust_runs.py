"""One output, one run: a second one is told, never appends, and nobody's files are touched but our own.

`make soak` starts two `segment` with one `--out` 20 times (TWO_RUNS).
"""
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
import torch

from rs_zeroseg.data import prepare, recipes
from rs_zeroseg.data.files import leftovers, one_run, whole_files, whole_folder
from rs_zeroseg.training import finetune as finetuning
from rs_zeroseg.training.loop import TrainConfig
from rs_zeroseg.training.pretrain import pretrain
from rs_zeroseg.training.resume import save_checkpoint
from rs_zeroseg.training.segmentation import train_pocket

TWO_RUNS = int(os.environ.get("TWO_RUNS", 1))
COMMAND = [sys.executable, "-m", "rs_zeroseg"]
BUSY = "another run is at work on it"
AFTER_BUSY = "; let it end first, or choose another name\n"
posix = pytest.mark.skipif(os.name != "posix", reason="links and owners are those of Linux and macOS")


def everything(folder):
    "What lies in a folder, at any depth, as relative path -> bytes, or None for a folder."
    return {p.relative_to(folder).as_posix(): None if p.is_dir() else p.read_bytes() for p in folder.rglob("*")}


def start(*args):
    "A command in a process of its own."
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([*COMMAND, *map(str, args)], env=env, **pipes)


def both(first, second, delay):
    "(exit code, standard error) of two commands, the second started `delay` seconds after the first."
    one = start(*first)
    time.sleep(delay)
    two = start(*second)
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda process: process.communicate()[1], (one, two)))
    return [(process.returncode, text) for process, text in zip((one, two), told)]


def told_or_done(results, out):
    "Each of two runs is done, or ends with 2 and one line; at least one is done."
    for code, text in results:
        line = text.splitlines()[-1] if text else ""
        assert code == 0 or (code == 2 and line.startswith("Error: ") and BUSY in line), (code, text[-500:])
    assert 0 in [code for code, _ in results], f"{out}: neither is done"


# ---- segment

@pytest.fixture(scope="module")
def town(tmp_path_factory, tif):
    "A raster of several blocks, its map, and the seconds that the map took."
    folder = tmp_path_factory.mktemp("town")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (3, 20, 20), dtype=np.uint8)                      # 2 x 2 blocks
    tif(folder/"in.tif", coarse.repeat(32, 1).repeat(32, 2), crs="EPSG:32631",
        transform=rasterio.Affine(.5, 0, 5e5, 0, -.5, 5e6))
    began = time.perf_counter()
    process = start("segment", folder/"in.tif", "--words", "road,tree,water", "--out", folder/"map.tif")
    process.communicate()
    assert process.returncode == 0
    return folder/"in.tif", (folder/"map.tif").read_bytes(), time.perf_counter() - began


def test_two_segment_with_one_out_are_never_mixed(town, tmp_path):
    source, whole, seconds = town
    draw, told = random.Random(0), []

    for n in range(TWO_RUNS):
        out = tmp_path/f"{n}.tif"
        command = ("segment", source, "--words", "road,tree,water", "--out", out)
        results = both(command, command, draw.uniform(0, seconds/8) if n else 0)

        told_or_done(results, out)
        assert out.read_bytes() == whole
        told += [text for code, text in results if code]

    assert {p.suffix for p in tmp_path.iterdir()} == {".qml", ".tif", ".xml"}
    print(f"{TWO_RUNS} pairs, {len(told)} runs were told that another one is at work")


def test_a_killed_segment_leaves_no_lock_and_its_blocks_are_used(town, tmp_path):
    source, whole, seconds = town
    command = ("segment", source, "--words", "road,tree,water", "--out", tmp_path/"map.tif")
    process = start(*command)
    sizes = []
    while not sizes or not all(sizes):                               # of the block's part in each file of the log
        assert process.poll() is None
        sizes = [path.stat().st_size for path in tmp_path.glob(".map.tif.rs_zeroseg-*.blocks/[!r]*")]
        time.sleep(.02)
    process.kill()
    process.communicate()
    (kept,) = leftovers(tmp_path/"map.tif", "blocks")
    blocks = (kept/"labels").stat().st_size

    again = start(*command)
    _, told = again.communicate()

    assert again.returncode == 0 and (tmp_path/"map.tif").read_bytes() == whole
    assert blocks and " 0%|" not in told, "it went on after the first block"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.qml", "map.tif", "map.tif.aux.xml"]


@posix
def test_blocks_of_a_stranger_are_not_read(town, run, tmp_path):
    "A folder with the name of ours that is a link, or a guessable one."
    source, whole, _ = town
    (tmp_path/"theirs").mkdir()
    (tmp_path/"theirs"/"labels").write_bytes(b"\x01"*10_000_000)
    (tmp_path/"theirs"/"request.json").write_text("{}")
    before = everything(tmp_path/"theirs")
    (tmp_path/".map.tif.blocks").symlink_to(tmp_path/"theirs")
    (tmp_path/".map.tif.rs_zeroseg-abcdefgh.blocks").symlink_to(tmp_path/"theirs")

    done = run("segment", source, "--words", "road,tree,water", "--out", tmp_path/"map.tif")

    assert done.exit_code == 0
    with rasterio.open(tmp_path/"map.tif") as dst, rasterio.MemoryFile(whole) as memory, memory.open() as src:
        assert (dst.read() == src.read()).mean() > .999      # threads may add up in another order
    assert everything(tmp_path/"theirs") == before


@posix
@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can give a folder away")
def test_a_work_folder_of_another_user_is_not_ours(tmp_path):
    theirs = tmp_path/".map.tif.rs_zeroseg-abcdefgh.blocks"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)

    assert leftovers(tmp_path/"map.tif", "blocks") == []


def test_a_second_encode_is_told_and_writes_nothing(town, run, tmp_path):
    with one_run(tmp_path/"features"):
        done = run("encode", town[0], "--out", tmp_path/"features")

    assert done.exit_code == 2 and done.output.endswith(f"Error: {tmp_path/'features'}: {BUSY}" + AFTER_BUSY)
    assert everything(tmp_path) == {}


# ---- names

def test_names_cannot_be_guessed_and_nobody_else_may_enter(tmp_path):
    seen = set()
    for _ in range(20):
        with whole_files(tmp_path/"a.txt") as (part,), whole_folder(tmp_path/"run") as new:
            part.write_text("a")
            for folder in (part.parent, new.parent):
                seen.add(folder.name)
                assert str(os.getpid()) not in folder.name.split("-")[0]
                assert os.name != "posix" or folder.stat().st_mode & 0o077 == 0

    assert len(seen) == 40
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "run"]


@posix
def test_a_result_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path/"plain").mkdir()
    (tmp_path/"plain"/"file").write_text("")

    with whole_files(tmp_path/"a.txt") as (part,), whole_folder(tmp_path/"run") as new:
        part.write_text("a")
        (new/"b.txt").write_text("b")

    modes = [p.stat().st_mode & 0o777 for p in (tmp_path/"a.txt", tmp_path/"run"/"b.txt", tmp_path/"run")]
    file, folder = ((tmp_path/"plain"/"file").stat().st_mode & 0o777, (tmp_path/"plain").stat().st_mode & 0o777)
    assert modes == [file, file, folder]


@posix
def test_a_lock_is_not_taken_through_a_link(tmp_path):
    (tmp_path/"diary").write_text("dear")
    (tmp_path/".map.tif.lock").symlink_to(tmp_path/"diary")

    with pytest.raises(OSError, match=r"\.map\.tif\.lock: could not be written"), one_run(tmp_path/"map.tif"):
        pytest.fail("the lock was taken")

    assert (tmp_path/"diary").read_text() == "dear"


# ---- trainings

SMALL = TrainConfig(steps=6, batch_size=2, save_every=3, precision="no")


def small_finetune(drawn, out):
    return finetuning.finetune(drawn, out, finetuning.PRESETS["pocket"], SMALL, crop_px=64, workers=0, progress=False)


def small_train(_, out):
    return train_pocket(out, None, scenes=2, plan=SMALL, progress=False)


def small_pretrain(_, out):
    return pretrain(out, scenes=2, vlm_plan=SMALL, rsi_plan=SMALL, progress=False)


TRAININGS = {"finetune": (small_finetune, "model"), "train": (small_train, "model"),
             "pretrain": (small_pretrain, "zero-shot")}


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_second_training_is_told_and_writes_nothing(drawn, tmp_path, kind):
    training, made = TRAININGS[kind]
    training(drawn, tmp_path/"out")
    before = everything(tmp_path)

    with one_run(tmp_path/"out"/made), pytest.raises(ValueError, match=f"{made}: {BUSY}"):
        training(drawn, tmp_path/"out")

    assert everything(tmp_path) == before


def test_two_finetune_on_one_folder(drawn, tmp_path):
    command = ("finetune", "--data", drawn, "--preset", "pocket", "--steps", 30, "--crop-px", 64, "--workers", 0,
               "--batch-size", 2, "--precision", "no", "--out", tmp_path/"out")

    results = both(command, command, 0)

    told_or_done(results, tmp_path/"out")
    rows = [json.loads(line)["step"] for line in (tmp_path/"out"/"metrics.jsonl").read_text().splitlines()]
    assert rows == [25, 30]
    assert {p.name for p in (tmp_path/"out").iterdir()} == {"metrics.jsonl", "model", "step-000030"}


def test_a_second_demo_is_told_and_draws_nothing(run, tmp_path):
    with one_run(tmp_path/"out"/"figure.png"):
        done = run("demo", "--out", tmp_path/"out")

    assert done.exit_code == 2 and done.output == f"Error: {tmp_path/'out'/'figure.png'}: {BUSY}" + AFTER_BUSY
    assert everything(tmp_path/"out") == {}


def test_a_checkpoint_removes_only_checkpoints_and_what_it_left(tmp_path):
    "Notes beside the checkpoints stay, whatever they are called."
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), .1)
    for name in ("step-notes", ".step-000001.old", "step-1", ".step-000001.rs_zeroseg-abcdefgh.part"):
        (tmp_path/name).mkdir()
        (tmp_path/name/"note.txt").write_text("mine")
    save_checkpoint(tmp_path, net, optimizer, 1, {})

    save_checkpoint(tmp_path, net, optimizer, 2, {})

    assert sorted(p.name for p in tmp_path.iterdir()) == [".step-000001.old", "step-000002", "step-1", "step-notes"]


# ---- evaluate only reads

def test_two_evaluate_at_once_say_the_same_and_write_nothing(drawn):
    before = everything(drawn)
    command = ("evaluate", "--data", drawn, "--json")
    one, two = start(*command), start(*command)

    told = one.communicate()[0], two.communicate()[0]

    assert (one.returncode, two.returncode) == (0, 0) and told[0] == told[1] != ""
    assert everything(drawn) == before


# ---- prepare

SAMPLE = recipes.Sample(tuple((f"toy.zip/img/{n}.png", f"toy.zip/lbl/{n}.png") for n in (1, 2)), size=(40, 48))
LAYOUT = recipes.Layout("toy", r"img/(\d+)\.png", r"lbl/(\d+)\.png", (1, 2), {"all": ("", None)}, SAMPLE, "a page")
RECIPE = recipes.Recipe("Toy", (("roof", "#ff0000", ""), ("lake", "#0000ff", "")), (LAYOUT,), "none", "nobody")


@pytest.fixture
def raw(tmp_path):
    "The archive of a small set."
    return recipes.make_miniature(RECIPE, tmp_path/"raw")[0]


def test_two_prepare_on_one_folder(raw, tmp_path):
    out, before = tmp_path/"out", everything(tmp_path)

    with one_run(out), pytest.raises(ValueError, match=f"out: {BUSY}"):
        prepare.prepare(RECIPE, raw, out)

    assert everything(tmp_path) == before


def test_many_prepare_at_once_leave_one_whole_set(raw, tmp_path):
    def tried(_):
        try:
            return prepare.prepare(RECIPE, raw, tmp_path/"out")["pairs"]
        except ValueError as error:
            assert BUSY in str(error)
            return None

    with ThreadPoolExecutor(4) as pool:
        pairs = list(pool.map(tried, range(8)))

    assert 2 in pairs and set(pairs) <= {2, None}
    assert prepare.is_prepared(RECIPE, tmp_path/"out", "all")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "raw"]


def test_prepare_removes_only_what_it_made(raw, tmp_path):
    "Folders of somebody, with every name that a program might take for its own leftovers."
    names = ("out.old", "out.part", ".out.old", ".out.part", ".out.4242-0.part", ".out.4242-1.old", "out.tmp")
    for name in names:
        (tmp_path/name/"photos").mkdir(parents=True)
        (tmp_path/name/"photos"/"wedding.jpg").write_bytes(b"dear")
    before = everything(tmp_path)
    killed = tmp_path/".out.rs_zeroseg-abcdefgh.part"
    (killed/"new"/"masks").mkdir(parents=True)

    prepare.prepare(RECIPE, raw, tmp_path/"out")

    assert {k: v for k, v in everything(tmp_path).items() if k.split("/")[0] != "out"} == before


def test_a_file_that_comes_while_prepare_is_at_work_is_not_lost(raw, tmp_path, monkeypatch):
    prepare.prepare(RECIPE, raw, tmp_path/"out")
    written = prepare._written

    def meanwhile(*given):
        (tmp_path/"out"/"diary.txt").write_text("dear")
        return written(*given)
    monkeypatch.setattr(prepare, "_written", meanwhile)

    with pytest.raises(ValueError, match=r"diary\.txt: not written by this script"):
        prepare.prepare(RECIPE, raw, tmp_path/"out")

    assert (tmp_path/"out"/"diary.txt").read_text() == "dear"


@posix
def test_a_linked_out_is_followed(raw, tmp_path):
    (tmp_path/"disk").mkdir()
    (tmp_path/"out").symlink_to(tmp_path/"disk"/"toy")
    prepare.prepare(RECIPE, raw, tmp_path/"out")

    prepare.prepare(RECIPE, raw, tmp_path/"out")

    assert (tmp_path/"out").is_symlink() and prepare.is_prepared(RECIPE, tmp_path/"disk"/"toy", "all")
    assert [p.name for p in (tmp_path/"disk").iterdir()] == ["toy"]


@posix
def test_a_link_inside_is_refused_like_a_file(raw, tmp_path):
    prepare.prepare(RECIPE, raw, tmp_path/"out")
    (tmp_path/"photos").mkdir()
    (tmp_path/"out"/"photos").symlink_to(tmp_path/"photos")

    with pytest.raises(ValueError, match="photos: not written by this script"):
        prepare.prepare(RECIPE, raw, tmp_path/"out")

    assert (tmp_path/"out"/"photos").is_symlink()
