"""The repository's own promises: notebooks, package and README agree, and the rooms stand in order."""
import ast
import importlib.util
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "nbs").glob("[1-6]_*/[0-9][0-9]_*.ipynb"))
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def code_cells(path): return [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def module(path): return ("baselines." if path.parent.name == "baselines" else "") + path.stem[3:]


def place(path): return ("11", path.stem[:2]) if path.parent.name == "baselines" else (path.stem[:2], "")   # the baselines stand after 2_model/07_segmenter


def exported(path): return [s for s in code_cells(path) if re.search(r"^#\|\s*export", s, re.M)]


def tracked():
    "Every text file that git tracks or would track; all files beside the tree's own where there is no git."
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode: pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    "A copy of what nbdev reads and writes, so that the checks leave the tree alone."
    folder = tmp_path_factory.mktemp("copy")
    for name in ("settings.ini", "setup.py", "pyproject.toml", "README.md"): shutil.copy(ROOT / name, folder / name)
    for name in ("nbs", "rs_zeroseg"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("weights", "__pycache__", ".ipynb_checkpoints"))
    return folder


def nbdev(module, command, folder):
    "One nbdev command in `folder`, with this interpreter."
    subprocess.run([sys.executable, "-c", f"from nbdev.{module} import {command}; {command}()"], cwd=folder, check=True, capture_output=True)


def test_export_in_sync(copy):
    modules = lambda root: {p.relative_to(root / "rs_zeroseg").as_posix(): p.read_text(encoding="utf-8") for p in (root / "rs_zeroseg").rglob("*.py")}
    before = modules(ROOT)
    for p in (copy / "rs_zeroseg").rglob("*.py"):
        if p.name != "__init__.py": p.unlink()
    nbdev("doclinks", "nbdev_export", copy)
    after = modules(copy)
    assert {module(p).replace(".", "/") + ".py" for p in NOTEBOOKS} <= set(after), "a notebook exports to another module than its name says"
    assert sorted(after) == sorted(before), "the package holds a module that no notebook makes, or lacks one: run `make export`"
    assert [n for n in after if after[n] != before[n]] == [], "run `make export`"


def test_notebooks_clean(copy):
    before = {p: p.read_bytes() for p in (copy / "nbs").rglob("*.ipynb")}
    nbdev("clean", "nbdev_clean", copy)
    assert [p.name for p in before if p.read_bytes() != before[p]] == [], "run `make clean-notebooks`"


def imports(path):
    "Rooms of the package that the exported cells of a notebook import."
    found = set()
    for node in ast.walk(ast.parse("\n".join(exported(path)))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rs_zeroseg":
            found |= {node.module.partition(".")[2]} if "." in node.module else {a.name for a in node.names}
        if isinstance(node, ast.Import): found |= {a.name.partition(".")[2] for a in node.names if a.name.startswith("rs_zeroseg.")}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path.name}: write `from rs_zeroseg.room import name`, not a relative import"
    return found - {"__version__"}


@by_name
def test_import_direction(path):
    lower = {module(p) for p in NOTEBOOKS if place(p) < place(path)}
    assert imports(path) - lower == set(), "an exported cell imports only from lower-numbered notebooks"


@by_name
def test_no_star_import(path):
    tree = ast.parse("\n".join(exported(path)))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"], "name what you import"


@by_name
def test_shape(path):
    cells = nbformat.read(path, as_version=4).cells
    head, text = cells[0].source, "\n".join(c.source for c in cells if c.cell_type == "markdown")
    assert re.match(r"# \S.*\n+> \S", head), "a notebook opens with an H1 and a > subtitle"
    assert re.search(r"^(#+ |\*\*)Exercises", text, re.M), "a notebook closes with exercises"
    assert re.search(r"^(#+ |\*\*)What can go wrong", text, re.M), "a notebook says what can go wrong"
    assert not [o for c in cells for o in c.get("outputs", ()) if o.output_type == "error"], "a stored output is an error"
    assert any({"image/png", "image/jpeg"} & set(o.get("data", {})) for c in cells for o in c.get("outputs", ())), "a notebook shows a picture"


@by_name
def test_public_names_are_documented(path):
    module = importlib.import_module(f"rs_zeroseg.{module(path)}")
    bare = []
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", "") != module.__name__: continue
        if inspect.isfunction(thing) and not thing.__doc__: bare.append(name)
        if inspect.isclass(thing) and (not thing.__doc__ or thing.__doc__.startswith(f"{name}(")): bare.append(name)   # a dataclass writes its own
    assert bare == [], "public functions and classes have a docstring"


def test_readme_in_sync():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "tools" / "readme.py")
    tool = importlib.util.module_from_spec(spec); spec.loader.exec_module(tool)
    text, pictures = tool.readme()
    assert (ROOT / "README.md").read_text(encoding="utf-8") == text, "run `make readme`"
    assert [p for p, data in pictures.items() if (ROOT / p).read_bytes() != data] == []


def test_setup_reads_every_dynamic_field():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    fields = set(re.findall(r'"([a-z-]+)"', re.search(r"dynamic\s*=\s*\[(.*?)\]", text, re.S).group(1)))
    call = next(n for n in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "setup")
    keyword = {"dependencies": "install_requires", "optional-dependencies": "extras_require", "readme": "long_description", "authors": "author",
               "entry-points": "entry_points", "scripts": "entry_points", "urls": "url"}
    assert {keyword.get(f, f) for f in fields} <= {k.arg for k in call.keywords}


def test_no_machine_in_tracked_files():
    "No home or scratch path, no package mirror: what works here only is a defect."
    pattern = re.compile(r"/(?:home|root|Users|work|tmp)/[\w.]|\.\./" r"shared|--(?:extra-)?index-url|https?://[^\s\"')]*:\d{4,5}/simple")
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or path.suffix in {".png", ".safetensors", ".tif", ".jpg"}: continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        if path.suffix == ".ipynb": text = re.sub(r'"image/(png|jpeg)": "[^"]*"', "", text)
        found += [f"{path.relative_to(ROOT)}: {m.group(0)}" for m in pattern.finditer(text)]
    assert found == []


def test_tools_skip_what_nbdev_skips():
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8")
    skipped = re.search(r"^SKIPPED = \((.*?)\)", (ROOT / "tools" / "coverage_notebooks.py").read_text(encoding="utf-8"), re.M).group(1)
    assert set(re.search(r"^tst_flags = (.*)$", settings, re.M).group(1).split()) == set(re.findall(r'"(\w+)"', skipped))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_widget_state_is_stored(path):
    "A widget's state holds every picture it has shown: megabytes that no reader sees."
    assert "widgets" not in json.loads(path.read_text(encoding="utf-8"))["metadata"]
