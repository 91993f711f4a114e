"""Keep small pictures of the widgets, as they look in JupyterLab, for pages without a kernel (`make screenshots`).

The browser tests leave screenshots in out/browser; those that a notebook shows go to nbs/screenshots as WebP. The
pictures film-00.png, film-01.png, ... become one that moves, film.webp, for the README.
"""
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SHOTS, KEPT = ROOT/"out"/"browser", ROOT/"nbs"/"screenshots"
PICTURES = {   # what the browser tests call it -> what the notebooks call it
    "attention-start": "explore",
    "losses-start": "playground",
    "rating-start": "rating",
    "results-package-start": "results",
    "view-lab": "view",
}
SIZE = 1000, 700   # pixels, at most
FRAME_MS = 1800      # that each picture of the film stays
MOST_BYTES = 1.5e6   # of the film


def make_film() -> int:   # its bytes
    "The pictures of the film as one animated WebP."
    frames = [Image.open(path).convert("RGB") for path in sorted(SHOTS.glob("film-*.png"))]
    for frame in frames:
        frame.thumbnail(SIZE)
    film = KEPT/"film.webp"
    frames[0].save(film, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0, quality=72, method=6)
    return film.stat().st_size


def main() -> int:
    "Shrink the pictures; exit code 1 if the browser tests have not made one."
    missing = [name for name in (*PICTURES, "film-00") if not (SHOTS/f"{name}.png").is_file()]
    if missing:
        print(f"{SHOTS}: {', '.join(missing)} not there; run `make test-browser` first", file=sys.stderr)
        return 1
    KEPT.mkdir(exist_ok=True)
    for shot, name in PICTURES.items():
        picture = Image.open(SHOTS/f"{shot}.png").convert("RGB")
        picture.thumbnail(SIZE)
        picture.save(KEPT/f"{name}.webp", quality=80, method=6)
        print(f"{name}.webp: {(KEPT/f'{name}.webp').stat().st_size/1e3:.0f} kB")
    size = make_film()
    print(f"film.webp: {size/1e3:.0f} kB")
    if size > MOST_BYTES:
        print(f"film.webp: at most {MOST_BYTES/1e6} MB; take pictures away, or lower its quality", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
