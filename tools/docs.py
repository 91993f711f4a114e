"""Build the documentation site in out/docs/_build/html (`make docs`).

Collects what the site shows in out/docs/source, in the folders where it lies in the repository, so that every relative
link holds in both; writes the table of contents from what is there; calls Jupyter Book, for which a warning is an
error; and follows every internal link of what came out. No notebook is run: their stored outputs are shown."""
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml
from docs_api import pages
from docs_links import dead_links
from docs_pictures import architecture, caption, gallery

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT/"out"/"docs"
SOURCE, HTML = OUT/"source", OUT/"_build"/"html"
DIRECTIVE = re.compile(r"^#\|.*\n?", re.M)                      # nbdev's, for tools and not for readers
HIDDEN = re.compile(r"^#\|\s*(hide|default_exp)\b", re.M)
NO_INPUT = re.compile(r"^#\|\s*echo: false", re.M)             # a cell whose output alone is shown
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def notebooks(*patterns:str) -> list[Path]:
    "The notebooks below nbs/ that match, in order."
    return [path for pattern in patterns for path in sorted((ROOT/"nbs").glob(pattern))]


def texts() -> list[Path]:
    "Pages that are written by hand elsewhere in the repository."
    cards = sorted((ROOT/"rs_zeroseg"/"weights").glob("*/README.md"))
    return [*sorted((ROOT/"docs").rglob("*.md")), ROOT/"CONTRIBUTING.md", ROOT/"CHANGELOG.md", *cards]


# What is shown

def text_for_site(text:str, folder:Path, files:set[Path]) -> str:
    "A Markdown text whose links to folders are plain text; `files` gets what else it links to and is no page."
    def mended(link:re.Match) -> str:
        target = (folder/link[2]).resolve()
        if link[2].startswith(("http:", "https:", "mailto:", "attachment:")) or not target.exists():
            return link[0]
        if target.is_dir():
            return link[1]
        if target.suffix not in {".md", ".ipynb"}:
            files.add(target)
        return link[0]
    return LINK.sub(mended, text)


def notebook_for_site(path:Path, files:set[Path]) -> str:
    "A notebook without what only nbdev reads; pictures get a text that says what they are."
    nb = nbformat.read(path, as_version=4)
    nb.cells = [cell for cell in nb.cells if cell.cell_type != "code" or not HIDDEN.search(cell.source)]
    heading = path.stem
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = text_for_site(cell.source, path.parent, files)
            above = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
            heading = above[-1] if above else heading
        else:
            cell.metadata["tags"] = ["remove-input"] if NO_INPUT.search(cell.source) else []
            cell.source = DIRECTIVE.sub("", cell.source).strip()
            cell.metadata["mystnb"] = {"image": {"alt": f"Figure: {heading}"}}
            if cell.metadata.get("jupyter", {}).get("source_hidden"):           # an answer: folded there, too
                cell.metadata["tags"] = ["hide-cell"]
    nb.cells = [cell for cell in nb.cells if cell.source]
    nb.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return nbformat.writes(nb)


def paths_page() -> str:
    "The three reading paths of the index as a page of their own."
    cells = nbformat.read(ROOT/"nbs"/"index.ipynb", as_version=4).cells
    start = "## Three paths through it"
    source = next(cell.source for cell in cells if cell.source.startswith(start))
    text = source.replace(start, "# Three paths through the workbook")
    return re.sub(r"^\*\*(To \w+)\.\*\* ", r"## \1\n\n", text, flags=re.M)


def collected() -> dict[str, bytes]:
    "Path below the source folder -> content."
    files:set[Path] = set()
    shown = notebooks("**/*.ipynb")
    shown = [path for path in shown if ".ipynb_checkpoints" not in path.parts]
    made = {path: notebook_for_site(path, files) for path in shown}
    made |= {path: text_for_site(path.read_text(encoding="utf-8"), path.parent, files) for path in texts()}
    made[ROOT/"nbs"/"paths.md"] = text_for_site(paths_page(), ROOT/"nbs", files)
    made |= {ROOT/"docs"/"api"/name: text for name, text in pages().items()}
    page, small = gallery(notebooks("[1-6]_*/*.ipynb", "workshop/*.ipynb", "experiments/*.ipynb"), ROOT)
    made |= {ROOT/"docs"/"gallery.md": page, ROOT/"docs"/"architecture.md": architecture()}
    content = {path: text.encode() for path, text in made.items()}
    content |= {ROOT/"docs"/name: picture for name, picture in small.items()}
    files |= {*(ROOT/"docs"/"_static").iterdir(), *(ROOT/"nbs"/"screenshots").glob("*.webp")}
    content |= {path: path.read_bytes() for path in files}
    return {path.relative_to(ROOT).as_posix(): data for path, data in content.items()}


# Its order

def chapter(path:Path|str, **more) -> dict:
    "An entry of the table of contents; `more` is its title, where it is not the page's own, and what stands below it."
    name = path if isinstance(path, str) else path.relative_to(ROOT).as_posix()
    return {"file": name} | more


def lesson(path:Path) -> dict:
    "The notebook for participants, and below it the one with solutions, from which it was made."
    theirs = path.parent/"_participant"/path.name
    return chapter(theirs, sections=[chapter(path, title="With solutions and outputs")])


def contents() -> dict:
    "The table of contents, from what is there."
    guides = [chapter(path) for path in sorted((ROOT/"docs"/"guides").glob("*.md"))]
    lessons = [lesson(path) for path in notebooks("workshop/*.ipynb")]
    parts = [(caption(folder.name), [chapter(path) for path in notebooks(f"{folder.name}/*.ipynb")])
             for folder in sorted((ROOT/"nbs").glob("[1-6]_*"))]
    modules = [chapter(f"docs/api/{name}") for name in sorted(pages()) if name != "index.md"]
    cards = [chapter(path, title=f"Model card: {path.parent.name}") for path in texts() if path.name == "README.md"]
    made = [chapter(f"docs/{name}.md") for name in ("architecture", "gallery", "glossary")]
    reference = [chapter("docs/api/index.md", sections=modules), *made, *cards,
                 chapter("CONTRIBUTING.md"), chapter("CHANGELOG.md")]
    captioned = [("Start", [chapter("nbs/paths.md")]), ("How to", guides), ("The course", lessons), *parts,
                ("Experiments", [chapter(path) for path in notebooks("experiments/*.ipynb")]), ("Reference", reference)]
    listed = [{"caption": told, "chapters": chapters} for told, chapters in captioned]
    return {"format": "jb-book", "root": "nbs/index.ipynb", "parts": listed}


# Build

def write(content:dict[str, bytes], folder:Path) -> None:
    "Make `folder` hold just this; a file that has not changed keeps its time, so that only the rest is built again."
    for name, data in content.items():
        path = folder/name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in content:
            path.unlink()


def main() -> int:
    "Collect, build, follow the links; 1 if something is wrong."
    toc = yaml.safe_dump(contents(), sort_keys=False).encode()
    config = (ROOT/"docs"/"_config.yml").read_bytes()
    write(collected() | {"_toc.yml": toc, "_config.yml": config}, SOURCE)
    command = [Path(sys.executable).with_name("jupyter-book"), "build", str(SOURCE), "--path-output", str(OUT), "-q",
               "--warningiserror", "--keep-going"]
    tools = Path(__file__).parent.as_posix()                      # holds the extension docs_sphinx
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, [tools, os.environ.get("PYTHONPATH")])))
    if code := subprocess.run(command, env=env).returncode:
        return code
    dead = dead_links(HTML)
    print("\n".join(dead) or f"{HTML.relative_to(ROOT)}: every internal link leads somewhere; open index.html")
    return int(bool(dead))


if __name__ == "__main__":
    sys.exit(main())
