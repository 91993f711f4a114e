"""README.md from the stored cells of nbs/index.ipynb; pictures go to figures/ (`make readme`)."""
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Made from nbs/index.ipynb by `make readme`: edit that. -->\n\n"
NO_INPUT = "#| echo: false"                                   # a cell whose output alone is shown
LINK = re.compile(r"\]\(((?:\w+/)*\w+\.(?:ipynb|webp))(#[^)]*)?\)")   # to a notebook or a screenshot, relative to nbs/


def readme() -> tuple[str, dict[str, bytes]]:
    "The README's text and its pictures by path."
    nb = nbformat.read(ROOT/"nbs"/"index.ipynb", as_version=4)
    nb.cells = [cell for cell in nb.cells if not cell.source.startswith("#| hide")]
    for cell in nb.cells:
        if cell.source.startswith(NO_INPUT):
            cell.metadata["transient"] = {"remove_source": True}       # as nbconvert's own preprocessors say it
    text, resources = MarkdownExporter().from_notebook_node(nb)
    pictures = {}
    for name, data in resources["outputs"].items():
        path = f"figures/index_{name.removeprefix('output_')}"
        text = text.replace(name, path)
        pictures[path] = data
    text = re.sub(r"\n{3,}", "\n\n", text)
    text = LINK.sub(r"](nbs/\1\2)", text)                    # the README stands one folder above nbs/
    text = text.replace("](../", "](")
    return NOTE + text.strip() + "\n", pictures


def main() -> None:
    "Write the README and its pictures."
    text, pictures = readme()
    (ROOT/"README.md").write_text(text, encoding="utf-8")
    for path, data in pictures.items():
        (ROOT/path).write_bytes(data)


if __name__ == "__main__":
    main()
