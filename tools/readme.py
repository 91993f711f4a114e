"""README.md from the stored cells of nbs/index.ipynb; pictures go to figures/."""
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent


def readme() -> tuple[str, dict[str, bytes]]:
    "The README's text and its pictures by path."
    nb = nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4)
    nb.cells = [c for c in nb.cells if not c.source.startswith("#| hide")]
    text, resources = MarkdownExporter().from_notebook_node(nb)
    pictures = {}
    for name, data in resources["outputs"].items():
        path = f"figures/index_{name.removeprefix('output_')}"
        text, pictures[path] = text.replace(name, path), data
    note = "<!-- Made from nbs/index.ipynb by `make readme`: edit that. -->\n\n"
    text = re.sub(r"\]\(((?:\w+/)*\w+\.ipynb)\)", r"](nbs/\1)", text)      # links are relative to nbs/, the README stands one above
    return note + text.strip() + "\n", pictures


if __name__ == "__main__":
    text, pictures = readme()
    (ROOT / "README.md").write_text(text, encoding="utf-8")
    for path, data in pictures.items(): (ROOT / path).write_bytes(data)
