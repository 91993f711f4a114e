"""What the documentation site is made of: commands that exist, contents that miss nothing, true pictures."""
import ast
import importlib
import json
import re
import shlex
import sys

import pytest
from click import Group
from test_repo import ALL_NOTEBOOKS, NOTEBOOKS, ROOT, module
from test_repo import imports as imports_of_notebook

from rs_zeroseg.data.labels import LabelSet
from rs_zeroseg.use.cli import main as rs_zeroseg

sys.path.insert(0, str(ROOT/"tools"))
docs, docs_api, docs_links, docs_pictures = map(importlib.import_module, (
    "docs", "docs_api", "docs_links", "docs_pictures"))
GUIDES = sorted((ROOT/"docs"/"guides").glob("*.md"))
by_guide = pytest.mark.parametrize("path", GUIDES, ids=lambda p: p.stem)


def blocks(path, language):
    "The code blocks of a Markdown file in one language; '' for commands."
    text = re.sub(r"^ +(?=```)", "", path.read_text(encoding="utf-8"), flags=re.M)
    return [code for told, code in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S) if told == language]


def commands(path):
    "The command lines of a guide, as lists of words."
    lines = [line for language in ("", "sh") for block in blocks(path, language) for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


# ---- guides

def check_command(words):
    "An `rs_zeroseg` command line is one that click takes, but for files that are not there."
    command, name = rs_zeroseg, "rs_zeroseg"
    while isinstance(command, Group):
        name, words = words[0], words[1:]
        command = command.commands[name]
    options = {o: p for p in command.params for o in (*p.opts, *p.secondary_opts)}
    given = [word for word in words if word.startswith("--")]
    assert [word for word in given if word not in options] == [], name
    required = [p for p in command.params if p.required and p.param_type_name == "option"]
    assert [p.name for p in required if not set(p.opts) & set(given)] == [], name


@by_guide
def test_commands_of_the_guides_exist(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT/"Makefile").read_text(encoding="utf-8"), re.M))
    for words in commands(path):
        if "rs_zeroseg" in words and words[0] != "python":
            check_command(words[words.index("rs_zeroseg") + 1:])
        elif words[0] == "make":
            assert set(words[1:]) <= targets
        else:
            assert words[0] in {"pip", "python", "tar", "cd"} or words[0].startswith("./"), words
        files = [word for word in words if word.endswith(".py")]
        assert [name for name in files if not (ROOT/name).is_file()] == []


def test_a_command_that_does_not_exist_is_noticed():
    check_command(["segment", "a.tif", "--words", "x", "--out", "b.tif"])
    with pytest.raises(AssertionError):
        check_command(["segment", "a.tif", "--words", "x", "--out", "b.tif", "--colour", "red"])
    with pytest.raises(AssertionError):
        check_command(["segment", "a.tif", "--words", "x"])
    with pytest.raises(KeyError):
        check_command(["paint"])


def missing_names(code):
    "What Python code takes from the package, and is not there."
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("rs_zeroseg"):
            made = importlib.import_module(node.module)
            yield from (one.name for one in node.names if not hasattr(made, one.name))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "rs_zeroseg":
            yield from [node.attr]*(not hasattr(importlib.import_module("rs_zeroseg"), node.attr))


@pytest.mark.parametrize("path", [p for p in GUIDES if blocks(p, "python")], ids=lambda p: p.stem)
def test_python_of_the_guides_takes_what_exists(path):
    assert [name for code in blocks(path, "python") for name in missing_names(code)] == []


def test_a_name_that_does_not_exist_is_noticed():
    code = "import rs_zeroseg\nfrom rs_zeroseg.use.raster import segment, paint\nrs_zeroseg.segmnet(1)"
    assert [*missing_names(code)] == ["paint", "segmnet"]


def test_labels_of_the_guide_are_read():
    text, = blocks(ROOT/"docs"/"guides"/"02_train_on_my_masks.md", "json")
    labels = LabelSet(**json.loads(text))
    assert labels.words == ["road", "tennis court"] and labels.novel == [False, True]


# ---- contents

def listed(entries):
    "Every file of a table of contents."
    for entry in entries:
        yield entry["file"]
        yield from listed(entry.get("sections", ()))


def test_contents_list_every_page_once():
    contents = docs.contents()
    files = [contents["root"], *(file for part in contents["parts"] for file in listed(part["chapters"]))]
    notebooks = {path.relative_to(ROOT).as_posix() for path in ALL_NOTEBOOKS}
    written = {path.relative_to(ROOT).as_posix() for path in docs.texts()}
    modules = {f"docs/api/{module(path).replace('.', '/')}.md" for path in NOTEBOOKS}
    assert len(files) == len(set(files))
    assert notebooks | written | modules <= set(files)
    assert {part["caption"] for part in contents["parts"] if not part["chapters"]} == set()


def test_links_to_folders_become_text_and_files_are_taken_along(tmp_path):
    (tmp_path/"folder").mkdir()
    (tmp_path/"tool.py").touch()
    files = set()
    text = "[a](folder) [b](tool.py) [c](https://x.org) [d](missing.md)"
    assert docs.text_for_site(text, tmp_path, files) == "a [b](tool.py) [c](https://x.org) [d](missing.md)"
    assert files == {tmp_path/"tool.py"}


def test_the_three_paths_are_found_in_the_index():
    assert re.findall(r"^#+ .*", docs.paths_page(), re.M) == [
        "# Three paths through the workbook", "## To learn", "## To research", "## To map"]


def test_what_is_for_nbdev_only_is_not_shown():
    page = docs.notebook_for_site(ROOT/"nbs"/"2_model"/"07_carh.ipynb", set())
    source = "\n".join(line for cell in json.loads(page)["cells"] for line in cell["source"])
    assert "#|" not in source and "default_exp" not in source and "class CARH" in source


# ---- reference and pictures

def test_answers_to_exercises_are_folded_on_the_site():
    page = json.loads(docs.notebook_for_site(ROOT/"nbs"/"1_data"/"08_pocket.ipynb", set()))
    folded = [cell["metadata"].get("jupyter", {}).get("source_hidden", False) for cell in page["cells"]]
    tagged = ["hide-cell" in cell["metadata"].get("tags", ()) for cell in page["cells"]]
    assert any(folded) and tagged == folded


def test_reference_names_all_that_is_public():
    pages = docs_api.pages()
    for name, path in docs_api.modules().items():
        text = pages[f"{name.replace('.', '/')}.md"]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = next(ast.literal_eval(n.value) for n in tree.body
                      if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__")
        shown = set(re.findall(r"^:+\{py:(?:class|function|data)\} (\w+)", text, re.M))
        assert [n for n in public if not n.startswith("_") and n not in shown] == [], name


def test_reference_shows_shapes_and_errors():
    pages = docs_api.pages()
    assert ":param text_emb: (K,D_E) text vectors, any length" in pages["model/carh.md"]
    assert ":raises WriteError:\n    If something cannot be written" in pages["data/files.md"]


def test_architecture_is_what_the_notebooks_import():
    from_notebooks = {(module(path), there) for path in NOTEBOOKS for there, _ in imports_of_notebook(path)}
    assert docs_pictures.imports() == from_notebooks


def test_a_site_with_dead_links_is_refused(tmp_path):
    (tmp_path/"a.html").write_text('<a href="b.html#here"></a><a href="b.html#gone"></a><a href="c.html"></a>'
                                   '<a href="https://x.org"></a><script src="https://x.org/s.js"></script>')
    (tmp_path/"b.html").write_text('<h2 id="here"></h2><img src="p.png">')
    assert docs_links.dead_links(tmp_path) == [
        "a.html: loads https://x.org/s.js", "a.html: b.html#gone: no such place on that page",
        "a.html: c.html is not there", "b.html: p.png is not there"]
