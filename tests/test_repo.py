"""The repository's own promises: notebooks, package and README agree, and every import goes down the floors."""
import ast
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from modules import module_at

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "nbs").glob("[1-6]_*/[0-9][0-9]_*.ipynb"))
ALL_NOTEBOOKS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
# an import goes to a lower floor, or to a lower number of the same part
FLOORS = {"data": 1, "model": 2, "training": 3, "baselines": 3, "evidence": 4, "use": 5}
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.stem}")


def code_cells(path):
    return [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def exported(path):
    return [s for s in code_cells(path) if re.search(r"^#\|\s*export", s, re.M)]


def module(path):
    "The module that a notebook makes, by its place and name: 'model.carh'."
    return f"{path.parent.name[2:]}.{path.stem[3:]}"


def tracked():
    "Every file that git tracks or would track."
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


# ---- notebooks and package

@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    "A copy of what nbdev reads and writes, so that the checks leave the tree alone."
    folder = tmp_path_factory.mktemp("copy")
    for name in ("settings.ini", "setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("nbs", "rs_zeroseg"):
        ignored = shutil.ignore_patterns("weights", "__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


def nbdev(source, command, folder):
    "One nbdev command in `folder`, with this interpreter."
    code = f"from nbdev.{source} import {command}; {command}()"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)


def package_files(root):
    "Relative path -> text of the package's Python files."
    package = root / "rs_zeroseg"
    return {p.relative_to(package).as_posix(): p.read_text(encoding="utf-8") for p in package.rglob("*.py")}


def test_export_in_sync(copy):
    before = package_files(ROOT)
    for p in (copy / "rs_zeroseg").rglob("*.py"):
        if not p.name.startswith("__"):
            p.unlink()

    nbdev("doclinks", "nbdev_export", copy)

    after = package_files(copy)
    named = {module(p).replace(".", "/") + ".py" for p in NOTEBOOKS}
    assert named <= set(after), "a notebook exports to another module than its name says"
    assert sorted(after) == sorted(before), "a module that no notebook makes, or one is missing: `make export`"
    assert [n for n in after if after[n] != before[n]] == [], "run `make export`"


def test_notebooks_clean(copy):
    before = {p: p.read_bytes() for p in (copy / "nbs").rglob("*.ipynb")}

    nbdev("clean", "nbdev_clean", copy)

    assert [p.name for p in before if p.read_bytes() != before[p]] == [], "run `make clean-notebooks`"


def imports(path):
    "(module of the package, line of code) for each import in the exported cells of a notebook."
    for source in exported(path):
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rs_zeroseg":
                inside = node.module.partition(".")[2]
                if inside.count(".") == 0:                       # from rs_zeroseg.use import raster
                    yield from ((f"{inside}.{a.name}".strip("."), lines[node.lineno - 1]) for a in node.names)
                else:
                    yield inside, lines[node.lineno - 1]
            elif isinstance(node, ast.ImportFrom) and node.level:
                yield "." * node.level, lines[node.lineno - 1]
            elif isinstance(node, ast.Import):
                inside = [a.name.partition(".")[2] for a in node.names if a.name.startswith("rs_zeroseg.")]
                yield from ((name, lines[node.lineno - 1]) for name in inside)


def goes_down(here, there):
    "May the module `here` import the module `there`?"
    part, other = here.partition(".")[0], there.partition(".")[0]
    if part == other:
        order = [module(p) for p in NOTEBOOKS]
        return order.index(there) < order.index(here)
    return FLOORS[other] < FLOORS[part]


@by_name
def test_import_direction(path):
    known = {module(p) for p in NOTEBOOKS}
    breaks = []
    for there, line in imports(path):
        if there not in known:
            breaks.append(f"{line.strip()!r}: {there} is no module; write `from rs_zeroseg.part.module import name`")
        elif not goes_down(module(path), there):
            breaks.append(f"{line.strip()!r}: {there} stands on the floor of {module(path)} or above it")
    assert breaks == []


def test_import_direction_knows_both_rules():
    assert goes_down("model.carh", "data.vocab") and goes_down("model.carh", "model.text")
    assert not goes_down("model.text", "model.carh")             # a higher number of the same part
    assert not goes_down("training.loop", "baselines.sed")       # the same floor
    assert not goes_down("model.checkpoint", "evidence.paper")   # upstairs


@by_name
def test_no_star_import(path):
    tree = ast.parse("\n".join(exported(path)))
    stars = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"]
    assert stars == [], "name what you import"


@by_name
def test_public_names_are_documented(path):
    made = importlib.import_module(f"rs_zeroseg.{module(path)}")
    bare = []
    for name, thing in vars(made).items():
        if name.startswith("_") or getattr(thing, "__module__", "") != made.__name__:
            continue
        if inspect.isfunction(thing) and not thing.__doc__:
            bare.append(name)
        if inspect.isclass(thing) and (not thing.__doc__ or thing.__doc__.startswith(f"{name}(")):   # by @dataclass
            bare.append(name)
    assert bare == [], "public functions and classes have a docstring"


# ---- what a notebook looks like

@by_name
def test_shape(path):
    cells = nbformat.read(path, as_version=4).cells
    head = cells[0].source
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    outputs = [o for c in cells for o in c.get("outputs", ())]

    assert re.match(r"# \S.*\n+> \S", head), "a notebook opens with an H1 and a > subtitle"
    assert re.search(r"^\*(Before this|Next): .*\]\(", head, re.M), "a notebook says what to read before and after it"
    assert re.search(r"^(#+ |\*\*)Exercises", text, re.M), "a notebook closes with exercises"
    assert re.search(r"^(#+ |\*\*)What can go wrong", text, re.M), "a notebook says what can go wrong"
    assert [o for o in outputs if o.output_type == "error"] == [], "a stored output is an error"
    assert any({"image/png", "image/jpeg"} & set(o.get("data", {})) for o in outputs), "a notebook shows a picture"


@pytest.mark.parametrize("path", ALL_NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_links_lead_somewhere(path):
    "Every relative link in a notebook's text is a file of the repository."
    text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    links = re.findall(r"\]\(([^)#\s]+)\)", text)
    local = [link for link in links if not link.startswith(("http", "attachment:", "mailto:"))]
    assert [link for link in local if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", ALL_NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_no_widget_state_is_stored(path):
    "A widget's state holds every picture it has shown: megabytes that no reader sees. A view without it is empty."
    text = path.read_text(encoding="utf-8")
    assert "widgets" not in json.loads(text)["metadata"]
    assert "application/vnd.jupyter.widget-view+json" not in text


def test_the_index_lists_every_notebook():
    index = "\n".join(c.source for c in nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4).cells)
    listed = set(re.findall(r"\]\(([\w/.]+\.ipynb)\)", index))
    here = {p.relative_to(ROOT / "nbs").as_posix() for p in ALL_NOTEBOOKS} - {"index.ipynb"}
    assert here - listed == set()


# ---- the package as others see it

def test_public_face():
    code = ("import sys, rs_zeroseg\n"
            "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
            "assert set(rs_zeroseg.__all__) <= set(dir(rs_zeroseg))\n"
            "print([callable(getattr(rs_zeroseg, name)) for name in rs_zeroseg.__all__], rs_zeroseg.__all__)")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == f"{[True]*5} ['evaluate', 'finetune', 'load', 'make_scene', 'segment']"


def test_type_checkers_see_the_public_face():
    "What `__getattr__` gives is what stands under TYPE_CHECKING."
    tree = ast.parse((ROOT / "rs_zeroseg" / "__init__.py").read_text(encoding="utf-8"))
    seen = {a.name: n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level for a in n.names}
    import rs_zeroseg
    assert seen == rs_zeroseg._WHERE and sorted(seen) == sorted(rs_zeroseg.__all__)


def test_the_parts_init_files_are_empty():
    assert {part for part in FLOORS if (ROOT / "rs_zeroseg" / part / "__init__.py").read_bytes()} == set()


# who may import a package of the extra `lab` at the top; everybody else does so where something is drawn
LAB = {"use.widgets", "use.pictures", "use.explore", "use.result_figures", "use.results", "use.playground",
       "use.rating", "use.page", "use.view", "evidence.statistics", "evidence.tables", "evidence.sweep",
       "evidence.claims", "evidence.figures", "evidence.real_ground"}


GIS = {"use.vector"}   # who may import a package of the extra `gis` at the top


@by_name
def test_plotting_and_jupyter_are_imported_where_they_are_needed(path):
    "The plain package installs none of it, and its commands work (`make release` tries it in a new environment)."
    from rs_zeroseg.use.options import EXTRAS
    tree = ast.parse("\n".join(exported(path)))
    at_top = [n.module or "" for n in tree.body if isinstance(n, ast.ImportFrom)]
    at_top += [a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names]
    lab = {name for name in at_top if name.partition(".")[0] in EXTRAS["lab"]}
    gis = {name for name in at_top if name.partition(".")[0] in EXTRAS["gis"]}
    ours = {name.removeprefix("rs_zeroseg.") for name in at_top}

    if module(path) not in LAB:
        assert lab == set(), "import it inside the function that draws"
        assert ours & LAB == set(), "this would bring plotting into the plain package"
    if module(path) not in GIS:
        assert gis == set() and ours & GIS == set(), "import it inside the function that needs it"


def setup_call():
    "The call of `setup` in setup.py, as a syntax tree."
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    return next(n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "setup")


def test_setup_reads_every_dynamic_field():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    fields = re.findall(r'"([a-z-]+)"', re.search(r"dynamic\s*=\s*\[(.*?)\]", text, re.S)[1])
    keyword = {
        "dependencies": "install_requires", "optional-dependencies": "extras_require", "readme": "long_description",
        "authors": "author", "entry-points": "entry_points", "scripts": "entry_points", "urls": "url",
    }
    assert {keyword.get(f, f) for f in fields} <= {k.arg for k in setup_call().keywords}


def test_every_file_of_the_package_is_in_the_wheel():
    "Weights, ledger, JavaScript: what is no Python file must be named in setup.py."
    given = next(ast.literal_eval(k.value) for k in setup_call().keywords if k.arg == "package_data")["rs_zeroseg"]
    package = ROOT / "rs_zeroseg"
    named = {p for pattern in given for p in package.glob(pattern)}
    others = {p for p in tracked() if package in p.parents and p.suffix != ".py"}
    assert others and others - named == set()


def test_extras_that_are_told_are_those_of_setup():
    "A package that a missing extra is blamed for is a requirement of that extra, and of the plain package it is not."
    from rs_zeroseg.use.options import EXTRAS
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8")

    def names(field):
        return set(re.findall(r"(?<![\w.])([A-Za-z][\w-]*)", re.search(rf"^{field} =(.*)$", settings, re.M)[1]))

    for extra, packages in EXTRAS.items():
        assert set(packages) <= names(f"{extra}_requirements")
        assert not set(packages) & names("requirements")


# ---- README, tools, files

def test_readme_in_sync():
    text, pictures = module_at(ROOT / "tools" / "readme.py").readme()

    assert (ROOT / "README.md").read_text(encoding="utf-8") == text, "run `make readme`"
    assert [p for p, data in pictures.items() if (ROOT / p).read_bytes() != data] == []


def test_readme_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []


def test_no_machine_in_tracked_files():
    "No home or scratch path, no package mirror: what works here only is a defect."
    pattern = re.compile(r"/(?:home|root|Users|work|tmp)/[\w.]|\.\./" r"shared|--(?:extra-)?index-url"
                         r"|https?://[^\s\"')]*:\d{4,5}/simple")
    found = []
    for path in tracked():
        if path == Path(__file__).resolve() or path.suffix in {".png", ".safetensors", ".tif", ".jpg"}:
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        if path.suffix == ".ipynb":
            text = re.sub(r'"image/(png|jpeg)": "[^"]*"', "", text)
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for m in pattern.finditer(text)]
    assert found == []


def test_tools_skip_what_nbdev_skips():
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8")
    tool = (ROOT / "tools" / "coverage_notebooks.py").read_text(encoding="utf-8")
    skipped = re.search(r"^SKIPPED = \((.*?)\)", tool, re.M)[1]
    flags = re.search(r"^tst_flags = (.*)$", settings, re.M)[1].split()
    assert set(flags) == set(re.findall(r'"(\w+)"', skipped))
