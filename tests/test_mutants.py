"""The list of planted faults fits the package as it is, and their tool tells what is noticed from what survives."""
import json
import multiprocessing
import re
from pathlib import Path

import pytest
from modules import module_at

ROOT = Path(__file__).resolve().parents[1]
FAULTS = json.loads((ROOT/"tools"/"mutants.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tool():
    return module_at(ROOT/"tools"/"mutants.py")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_every_fault_can_be_planted_and_its_tests_are_there(tool, fault):
    text = (ROOT/"rs_zeroseg"/fault["file"]).read_text(encoding="utf-8")

    broken = tool.planted(text, fault)

    assert broken != text
    compile(broken, fault["file"], "exec")
    assert fault["tests"] and (len(fault["tests"]) == 1 or not any(test.endswith(".ipynb") for test in fault["tests"]))
    for test in fault["tests"]:
        file, _, name = test.partition("::")
        assert (ROOT/file).is_file(), test
        function = re.escape(name.partition("[")[0])
        assert not name or re.search(rf"^def {function}\(", (ROOT/file).read_text(encoding="utf-8"), re.M), test


def test_all_parts_have_faults_under_different_names():
    parts = {fault["file"].split("/")[0] for fault in FAULTS}

    assert parts == {"data", "model", "training", "baselines", "evidence", "use"}
    assert len({fault["name"] for fault in FAULTS}) == len(FAULTS) >= 60


def test_a_fault_whose_place_is_gone_or_there_twice_is_stale(tool):
    for text, times in (("a = 1", 0), ("b = 1\nb = 1", 2)):
        with pytest.raises(ValueError, match=f"stale: its place is there {times} times"):
            tool.planted(text, {"replace": "b = 1", "with": "b = 2"})


@pytest.mark.parametrize("claim, told", [("ONE > 0", "SURVIVED"), ("ONE == 1", "killed"), ("ONE ==", "broken")])
def test_a_verdict_is_the_tests_own_and_the_fault_is_mended(tool, tmp_path, claim, told):
    "A package of one line, a fault in it, and a test that sees it, does not, or cannot be read."
    package, test = tmp_path/"rs_zeroseg"/"one.py", tmp_path/"test_one.py"
    package.parent.mkdir()
    package.write_text("ONE = 1\n", encoding="utf-8")
    test.write_text(f"from pathlib import Path\nexec(Path({str(package)!r}).read_text())\n\n\n"
                    f"def test_one():\n    assert {claim}\n", encoding="utf-8")
    fault = {"name": "two", "file": "one.py", "replace": "ONE = 1", "with": "ONE = 2", "tests": ["test_one.py"]}

    found = tool.verdict(tmp_path, fault, multiprocessing.get_context("fork"))

    assert found == told and package.read_text(encoding="utf-8") == "ONE = 1\n"
