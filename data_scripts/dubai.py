#!/usr/bin/env python
"""Fetch and convert the Dubai set: 72 satellite images in 8 tiles, 5 categories, CC0.

Humans in the Loop with the Mohammed Bin Rashid Space Centre (MBRSC), "Semantic segmentation of aerial imagery":
  https://humansintheloop.org/resources/datasets/semantic-segmentation-dataset-2/
  https://www.kaggle.com/datasets/humansintheloop/semantic-segmentation-of-aerial-imagery

What comes out, ready for `rs_zeroseg.data.FolderDataset`:
  OUT/images/tile1_part001.jpg   as published
  OUT/masks/tile1_part001.png    one band: the position of the category in labels.json, 255 = ignore
  OUT/labels.json                names, synonyms, colours, licence, citation
  OUT/manifest.json              the SHA-256 of each file; a second run checks it and does nothing
"""

import argparse
import io
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from rs_zeroseg.data.files import download, file_hash, one_run
from rs_zeroseg.data.labels import IGNORE, LabelSet, write_labels
from rs_zeroseg.data.prepare import put, read_manifest
from rs_zeroseg.data.recipes import members, take
from rs_zeroseg.data.vocab import shown

PAGE = "https://www.kaggle.com/datasets/humansintheloop/semantic-segmentation-of-aerial-imagery"
URL = "https://www.kaggle.com/api/v1/datasets/download/humansintheloop/semantic-segmentation-of-aerial-imagery"
LICENCE = "CC0-1.0"
CITATION = "Humans in the Loop and MBRSC, 'Semantic segmentation of aerial imagery' (Dubai), humansintheloop.org, CC0"
PARTS = 9  # images per tile
CATEGORIES = (  # colour in the masks, name, other words
    ("#3C1098", "building", "house, roof, houses, buildings, rooftop, home, residential building, roofs"),
    (
        "#8429F6",
        "land",
        "bare land, bare soil, soil, sand, desert, dirt, earth, bare ground, barren land, unpaved area",
    ),
    ("#6EC1E4", "road", "street, roads, streets, roadway, asphalt road, highway, avenue, lane"),
    ("#FEDD3A", "vegetation", "trees, grass, plants, greenery, tree, lawn, lawns, grove"),
    ("#E2A929", "water", "sea, open water, lake, canal, ocean"),
)
IGNORED = (("#9B9B9B", "unlabelled"), ("#000000", "border"))
NAME = re.compile(r"Tile (\d+)/(?:images/|masks/)?image_part_(\d+)\.(jpg|png)$", re.IGNORECASE)


def published_labels() -> LabelSet:
    "The labels of the published masks, by colour."
    kept = [{"value": value, "name": name} for value, name, _ in CATEGORIES]
    return LabelSet("Dubai", kept + [{"value": value, "name": name, "ignore": True} for value, name in IGNORED])


def written_labels() -> LabelSet:
    "The labels of the masks that this script writes, by number."
    kept = [
        {"value": i, "name": name, "synonyms": words.split(", "), "colour": colour.lower(), "novel": False}
        for i, (colour, name, words) in enumerate(CATEGORIES)
    ]
    return LabelSet("Dubai", kept + [{"value": IGNORE, "name": "unlabelled", "ignore": True}], LICENCE, CITATION)


def find_pairs(names: list[str]) -> dict[tuple[int, int], dict[str, str]]:
    "(tile, part) -> {'jpg': name, 'png': name}, from the names in the archive or folder."
    pairs = {}
    for name in names:
        match = NAME.search(name)
        if match and "__MACOSX" not in name:
            pairs.setdefault((int(match[1]), int(match[2])), {})[match[3].lower()] = name
    return pairs


def check_pairs(pairs: dict, tiles: list[int], source: Path):
    "Nine whole pairs in each tile, or a ValueError."
    for tile in tiles:
        whole = [part for (t, part), pair in pairs.items() if t == tile and len(pair) == 2]
        if len(whole) != PARTS:
            raise ValueError(
                f"{source}: Tile {tile} has {len(whole)} pairs of image and mask, not {PARTS}; choose other --tiles"
            )


def convert(image: bytes, mask: bytes, name: str) -> bytes:
    "The PNG of 0-based indices for a published mask; ValueError if it does not fit its image."
    try:
        picture, colours = Image.open(io.BytesIO(image)), Image.open(io.BytesIO(mask)).convert("RGB")
        picture.load()
    except (UnidentifiedImageError, OSError, SyntaxError) as error:  # Pillow reports some broken PNGs as SyntaxError
        raise ValueError(f"{name}: broken image file ({error}); fetch the archive again") from None
    if picture.size != colours.size:
        raise ValueError(
            f"{name}: the mask has {colours.size} pixels, its image {picture.size}; leave this tile out with --tiles"
        )
    index = Image.fromarray(published_labels().encode(np.asarray(colours), name).astype(np.uint8))
    index.putpalette(
        [int(c[i : i + 2], 16) for c, _, _ in CATEGORIES for i in (1, 3, 5)]
        + [0] * 3 * (IGNORE - len(CATEGORIES))
        + [255] * 3
    )
    out = io.BytesIO()
    index.save(out, "PNG")
    return out.getvalue()


def is_done(out: Path, tiles: list[int]) -> bool:
    "True if `out` holds these tiles and each file is as it was written."
    manifest = read_manifest(out)
    return (
        manifest is not None
        and manifest.get("tiles") == tiles
        and all((out / f).is_file() and file_hash(out / f) == h for f, h in manifest["files"].items())
    )


def earlier(out: Path) -> set[str]:
    "The images and masks that an earlier run has written into `out`. ValueError if the manifest there is not ours."
    path, manifest = out / "manifest.json", read_manifest(out)
    if not path.exists():
        return set()
    if manifest is None or manifest.get("source") != URL:
        raise ValueError(f"{path}: not written by this script; move it away or choose another --out")
    return {name for name in manifest["files"] if re.fullmatch(r"(images|masks)/tile\d+_part\d{3}\.(jpg|png)", name)}


def build(found: dict, source: Path, out: Path, tiles: list[int]) -> int:
    "Convert what `members` found in the archive or folder `source` into `out`; the number of pairs."
    pairs = find_pairs(list(found))
    check_pairs(pairs, tiles, source)
    old, stale, files = out / "manifest.json", earlier(out), {}
    old.unlink(missing_ok=True)  # from here to the end `out` is not whole
    for (tile, part), pair in sorted(pairs.items()):
        if tile not in tiles:
            continue
        image, name = take(found, pair["jpg"]), f"tile{tile}_part{part:03d}"
        mask = convert(image, take(found, pair["png"]), pair["png"])
        files[f"images/{name}.jpg"] = put(out / "images" / f"{name}.jpg", image)
        files[f"masks/{name}.png"] = put(out / "masks" / f"{name}.png", mask)
    write_labels(written_labels(), out / "labels.json")
    files["labels.json"] = file_hash(out / "labels.json")
    for name in stale - set(files):
        (out / name).unlink(missing_ok=True)  # tiles of an earlier run
    manifest = {"source": URL, "licence": LICENCE, "citation": CITATION, "tiles": tiles, "files": files}
    put(old, json.dumps(manifest, indent=1).encode())
    return len(files) // 2


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python data_scripts/dubai.py --out data/dubai --tiles 1 2 3 4",
    )
    parser.add_argument("--out", type=Path, default=Path("data/dubai"), help="folder to write (default: data/dubai)")
    parser.add_argument(
        "--tiles",
        type=int,
        nargs="+",
        default=list(range(1, 9)),
        choices=range(1, 9),
        metavar="N",
        help="which tiles (default: all 8)",
    )
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--archive", type=Path, help="the zip file, fetched in a browser; nothing is downloaded")
    given.add_argument(
        "--source",
        type=Path,
        help="an unpacked folder: 'Tile N/images/...' or 'images/Tile N/...'; nothing is downloaded",
    )
    options = parser.parse_args(arguments)
    tiles = sorted(set(options.tiles))
    try:
        if is_done(options.out, tiles):
            print(f"{options.out}: already there and unchanged")
            return 0
        source = options.archive or options.source or download(URL, options.out / "archive.zip")
        if not source.exists():
            raise ValueError(f"{source}: no such file or folder")
        if source.is_file() and not zipfile.is_zipfile(source):
            raise ValueError(f"{source}: not a zip file; download it from {PAGE} and give it with --archive")
        with one_run(options.out), members([source]) as found:
            count = build(found, source, options.out, tiles)
    except RuntimeError as error:
        print(
            f"{shown(str(error))}\nDownload 'archive.zip' from {PAGE} (button 'Download', free account), then: "
            f"python data_scripts/dubai.py --archive archive.zip --out {options.out}",
            file=sys.stderr,
        )
        return 2
    except (ValueError, OSError) as error:
        print(shown(str(error)), file=sys.stderr)
        return 2
    print(f"{options.out}: {count} images of tiles {', '.join(map(str, tiles))}; {LICENCE}; {CITATION}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
