"""Pictures of the site that are made from what is there: the architecture from imports, the gallery from notebooks."""
import ast
import base64
import html
import io
import re
import unicodedata
from collections import Counter
from pathlib import Path

import nbformat
from docs_api import modules, notebook_of
from PIL import Image

ROW, WIDTH = 26, 560                                     # px: height of a line, width of a drawing
Edges = set[tuple[str, str]]                             # (module that imports, module that is imported)


def imports() -> Edges:
    "Who imports whom, at the top of a file or inside a function."
    known, edges = modules(), set()
    for name, path in known.items():
        package = f"rs_zeroseg.{name}".rpartition(".")[0].split(".")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                base = package[:len(package) - node.level + 1] if node.level else []
                source = ".".join([*base, *filter(None, [node.module])]).removeprefix("rs_zeroseg").lstrip(".")
                told = {source, *(f"{source}.{alias.name}".lstrip(".") for alias in node.names)}
                edges |= {(name, other) for other in told & set(known)}
            elif isinstance(node, ast.Import):
                told = {alias.name.removeprefix("rs_zeroseg.") for alias in node.names}
                edges |= {(name, other) for other in told & set(known)}
    return edges


def drawing(height:int, title:str, inside:list[str]) -> str:
    "An SVG that takes its colours from the page."
    head = f'<svg class="architecture" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">'
    return "\n".join([head, f"<title>{html.escape(title)}</title>", *inside, "</svg>"])


def house(edges:Edges) -> str:
    """The parts as steps, the lowest at the bottom left. A line leads from a part to the left, and down to one that it
    imports; the number in the circle counts the pairs of modules."""
    parts = parts_in_order()
    pairs = Counter((a.partition(".")[0], b.partition(".")[0]) for a, b in edges)
    counts = Counter(name.partition(".")[0] for name in modules())
    pitch = WIDTH/len(parts)
    at = {part: (pitch*(k + .5), 64*(len(parts) - k) - 30) for k, part in enumerate(parts)}
    lines, boxes = [], []
    for (upper, lower), number in sorted(pairs.items()):
        if upper != lower:
            (x0, y0), (x1, y1) = at[upper], at[lower]
            lines.append(f'<g><title>{upper} imports from {lower}: {number}</title>'
                         f'<path d="M{x0 - 44:.0f} {y0}H{x1:.0f}V{y1 - 28}"/>'
                         f'<path class="arrow" d="M{x1 - 5:.0f} {y1 - 31}h10l-5 9z"/>'
                         f'<circle cx="{x1:.0f}" cy="{y0}" r="14"/>'
                         f'<text x="{x1:.0f}" y="{y0 + 5}" text-anchor="middle" font-size="14">{number}</text></g>')
    for part, (x, y) in at.items():
        boxes.append(f'<a href="api/index.html#rs-zeroseg-{part}"><rect x="{x - 45:.0f}" y="{y - 22}" width="90" '
                     f'height="44" rx="8"/>'
                     f'<text x="{x:.0f}" y="{y - 2}" text-anchor="middle" font-size="17">{part}</text>'
                     f'<text class="soft" x="{x:.0f}" y="{y + 15}" text-anchor="middle" font-size="13">{counts[part]}'
                     ' modules</text></a>')
    return drawing(64*len(parts) + 4, "The parts of the package and their imports", lines + boxes)


def arcs(part:str, edges:Edges) -> str:
    "The modules of a part in the order of their notebooks; an arc joins a module to each one that it imports."
    names = sorted((n for n in modules() if n.startswith(f"{part}.")),
                   key=lambda n: notebook_of(modules()[n].read_text(encoding="utf-8")))
    at = {name: ROW*(k + 1) for k, name in enumerate(names)}
    lines = []
    for name, y in at.items():
        short = name.partition(".")[2]
        path = [f'<path d="M250 {at[other]}A{reach(y, at[other])} 0 0 1 250 {y}"/>'
                for a, other in sorted(edges) if a == name and other in at]
        label = (f'<a href="api/{part}/{short}.html"><text x="238" y="{y + 5}" text-anchor="end" font-size="17">{short}'
                 '</text></a>')
        lines.append(f'<g>{label}<circle class="arrow" cx="250" cy="{y}" r="4"/>{"".join(path)}</g>')
    return drawing(ROW*(len(names) + 1), f"Imports among the modules of {part}", lines)


def reach(y:int, other:int) -> str:
    "The two radii of an arc, so that the longest still fits."
    half = abs(y - other)/2
    return f"{min(half, 290):.0f} {half:.0f}"


def architecture() -> str:
    "The page with all drawings, and a table of every module's imports."
    edges = imports()
    lines = [
        "# Architecture", "",
        "These drawings are made from the `import` lines of the package when the site is built. So they show what the"
        " code does, not what somebody remembers.", "",
        "## The parts", "",
        "A part is a folder of notebooks and a subpackage. Follow a line from a part to the left and down: it ends at a"
        " part that the first one imports from. The number in the circle says how many pairs of modules are joined so."
        " No line leads up, and a test checks that.", "", house(edges), "",
    ]
    for part in parts_in_order():
        lines += [f"## `{part}`", "", "An arc joins a module to those above it that it imports.", ""]
        lines += [arcs(part, edges), "", "| module | imports | is imported by |", "|---|---|---|"]
        for name in (n for n in modules() if n.startswith(f"{part}.")):
            down = ", ".join(sorted(b for a, b in edges if a == name))
            up = ", ".join(sorted(a for a, b in edges if b == name))
            lines.append(f"| [`{name}`](api/{name.replace('.', '/')}.md) | {down} | {up} |")
        lines.append("")
    return "\n".join(lines)


def first_notebook(part:str) -> str:
    "The first notebook of a part, by which parts are ordered."
    return min(notebook_of(p.read_text(encoding="utf-8")) for n, p in modules().items() if n.startswith(f"{part}."))


def place(heading:str) -> str:
    "The id that Sphinx gives to a heading."
    plain_letters = unicodedata.normalize("NFKD", heading.lower()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain_letters).lstrip("-0123456789").rstrip("-")


def parts_in_order() -> list[str]:
    "The parts, in the order of their notebooks."
    return sorted({name.partition(".")[0] for name in modules()}, key=first_notebook)


def plain(heading:str) -> str:
    "A heading without its markup."
    return re.sub(r"[`*$#]", "", heading).strip()


def caption(folder:str) -> str:
    "What a folder of notebooks is called: '2_model' is Part 2: model, 'workshop' is Workshop."
    number, _, name = folder.rpartition("_")
    return f"Part {number}: {name}" if number else name.capitalize()


def figures(path:Path) -> list[tuple[str, str, bytes]]:
    "(title of the notebook, heading above the figure, picture) for each stored figure."
    found, title, heading = [], "", ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            above = re.findall(r"^#+ (.*)", re.sub(r"```.*?```", "", cell.source, flags=re.S), re.M)
            title = title or plain(above[0])
            heading = plain(above[-1]) if above else heading
        for output in cell.get("outputs", ()):
            for kind in {"image/png", "image/jpeg"} & set(output.get("data", {})):
                found.append((title, heading, base64.b64decode(output["data"][kind])))
    return found


def gallery(paths:list[Path], root:Path) -> tuple[str, dict[str, bytes]]:
    "The page, and its small pictures by path below docs/."
    tiles:dict[str, list[str]] = {}
    small = {}
    for path in paths:
        page = f"../{path.relative_to(root).with_suffix('.html').as_posix()}"
        for k, (title, heading, picture) in enumerate(figures(path), 1):
            name = f"_static/gallery/{path.parent.name}_{path.stem}_{k}.webp"
            small[name] = thumbnail(picture)
            anchor, told = (f"#{place(heading)}", heading) if heading != title else ("", "")
            label = f"<b>{html.escape(title)}</b> {html.escape(told)}"
            tiles.setdefault(path.parent.name, []).append(
                f'<a href="{page}{anchor}"><img src="../{name}" alt="" loading="lazy">{label}</a>')
    lines = ["# Gallery", "", "Every figure that is stored in a notebook. Click on one to read how it is made.", ""]
    for folder, shown in tiles.items():
        lines += [f"## {caption(folder)}", "", '<div class="gallery">', *shown, "</div>", ""]
    return "\n".join(lines), small


def thumbnail(picture:bytes) -> bytes:
    "A picture of at most 360 x 240 px, as WebP."
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((360, 240))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=80)
    return out.getvalue()
