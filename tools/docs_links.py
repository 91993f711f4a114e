"""Follow the internal links of a built site."""
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    "What a page links to, what it loads, and the places in it that can be linked to."

    def __init__(self, path:Path):
        super().__init__()
        self.links:list[str] = []
        self.loads:list[str] = []
        self.places:set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag:str, attrs:list[tuple[str, str|None]]) -> None:
        "Called for each tag."
        told = {name: value for name, value in attrs if value}
        self.places |= {told[name] for name in ("id", "name") if name in told}
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
        if tag in {"img", "script", "source", "iframe"} and "src" in told:
            self.loads.append(told["src"])
        if tag == "link" and told.get("rel") in {"stylesheet", "icon", "preload"} and "href" in told:
            self.loads.append(told["href"])


def dead_links(folder:Path) -> list[str]:
    "A line for each link to a page, file or place that is not there, and for each thing that is loaded from elsewhere."
    found = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]    # a theme's templates
    pages = {path.resolve(): Page(path) for path in found}
    dead = []
    for path, page in pages.items():
        name = path.relative_to(folder.resolve()).as_posix()
        dead += [f"{name}: loads {link}" for link in page.loads if urlsplit(link).netloc]
        for link in dict.fromkeys([*page.links, *page.loads]):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent/unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                dead.append(f"{name}: {link} is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                dead.append(f"{name}: {link}: no such place on that page")
    return dead
