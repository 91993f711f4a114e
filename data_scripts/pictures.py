#!/usr/bin/env python
"""Prepare pictures without masks, for pretraining: uc_merced, urban_trees or eurosat.

* uc_merced: UC Merced Land Use, 2,100 pictures of 256 px at 0.3 m, 21 scenes of 100 (Yang and Newsam 2010; imagery USGS
  National Map, public domain; archive and MD5 as in torchgeo/datasets/ucmerced.py of
  https://github.com/torchgeo/torchgeo): Images/SCENE/SCENE80.tif. Airplanes, storage tanks and tennis courts with the
  numbers 80 to 89 are for measuring, so they are kept out of all training. Storage tanks 78 and 79 are kept out, too:
  they show the ground of 80 and 81.
* urban_trees: NAIP tiles of 256 px at 0.6 m of Californian cities (Ventura et al. 2024, CC BY 4.0; imagery USDA NAIP;
  https://github.com/jonathanventura/urban-tree-detection-data): images/CITY_YEAR_N.tif of four bands.
* eurosat: EuroSAT, Sentinel-2 of 64 px at 10 m, 27,000 pictures of 10 scenes (Helber et al. 2019, MIT;
  https://github.com/phelber/EuroSAT, archive at https://zenodo.org/records/7711810): SCENE/SCENE_N.jpg.

What comes out: OUT/images (for training), OUT/held_out (never for training), and OUT/manifest.json with the licence,
the source, and for each picture its scene, whether it may train, and its SHA-256. A second run checks it and does
nothing. An MD5 is checked for uc_merced only: of the others none was at hand.
"""
import argparse
import json
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile

from rs_zeroseg.data.files import download, file_hash, one_run, whole_folder
from rs_zeroseg.data.prepare import put, read_manifest
from rs_zeroseg.data.recipes import image_file, members, pair_name, take

NAIP = "78e81bdbb484048472e77cbedd3afb49a6b621c6"


@dataclass(frozen=True)
class Pictures:
    "A set of pictures without masks."
    image: str  # pattern at the end of a path: its groups, joined by '_', are a name, and the first one is the scene
    url: str
    archive: str
    md5: str | None
    licence: str
    citation: str
    gsd_m: float
    published: int | None
    held_out: str = "(?!)"  # pattern in a name: never for training


SETS = {
    "uc_merced": Pictures(
        r"Images/([a-z]+)/(?:[a-z]+)(\d\d)\.tif",
        "https://huggingface.co/datasets/torchgeo/ucmerced/resolve/main/UCMerced_LandUse.zip",
        "UCMerced_LandUse.zip",
        "5b7ec56793786b6dc8a908e8854ac0e4",
        "public domain (USGS National Map)",
        "Yang and Newsam, UC Merced Land Use, ACM SIGSPATIAL GIS 2010; imagery: USGS National Map",
        0.3,
        2100,
        held_out="^(?:airplane|storagetanks|tenniscourt)_8[0-9]$|^storagetanks_7[89]$",
    ),
    "urban_trees": Pictures(
        r"images/([a-z_]+?)_(\d{4}_\d+)\.tif",
        f"https://github.com/jonathanventura/urban-tree-detection-data/archive/{NAIP}.zip",
        "urban-tree-detection-data.zip",
        None,
        "CC-BY-4.0",
        "Urban tree detection data (c) Ventura et al. 2024, Int. J. Applied Earth Observation 130; imagery: USDA NAIP",
        0.6,
        None,
    ),
    "eurosat": Pictures(
        r"([A-Za-z]+)/[A-Za-z]+_(\d+)\.jpg",
        "https://zenodo.org/records/7711810/files/EuroSAT_RGB.zip?download=1",
        "EuroSAT_RGB.zip",
        None,
        "MIT",
        "EuroSAT (c) Helber et al., IEEE JSTARS 2019; contains modified Copernicus Sentinel data",
        10,
        27000,
    ),
}


def as_png(content: bytes, path: str) -> bytes:
    "A PNG of the first three bands; ValueError that names the file if they cannot be read."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pictures without a place on the ground
            with MemoryFile(content) as memory, memory.open() as src:
                bands = src.read([1, 2, 3])
    except (rasterio.errors.RasterioError, IndexError) as error:
        raise ValueError(f"{path}: not a picture of three bands ({error}); fetch the archive again") from None
    if bands.dtype != np.uint8:
        raise ValueError(f"{path}: {bands.dtype} values, not bytes; fetch the published archive")
    return image_file(np.ascontiguousarray(bands.transpose(1, 2, 0)), ".png")


def is_done(name: str, out: Path) -> bool:
    "True if `out` holds that set and each file is as it was written."
    manifest = read_manifest(out)
    if manifest is None or manifest.get("data") != name:
        return False
    return all((out / f).is_file() and file_hash(out / f) == digest for f, digest in manifest["files"].items())


def write(name: str, source: Path, out: Path) -> dict:
    "Write the pictures of an archive or folder into `out`; returns the manifest."
    kind, files, pictures = SETS[name], {}, {}
    if out.exists() and any(out.iterdir()) and (read_manifest(out) or {}).get("data") != name:
        raise ValueError(f"{out}: holds something else; move it away or choose another --out")
    with one_run(out), members([source]) as found, whole_folder(out) as part:
        for path in sorted(found):
            picture = pair_name(kind.image, path)
            if picture is None:
                continue
            held_out = re.search(kind.held_out, picture) is not None
            jpeg = path.lower().endswith(".jpg")
            kept = f"{'held_out' if held_out else 'images'}/{picture}{'.jpg' if jpeg else '.png'}"
            if kept in files:
                raise ValueError(f"{path}: {picture} is there twice; give only one of them")
            content = take(found, path)
            png = as_png(content, path)  # reads it to its end
            files[kept] = put(part / kept, content if jpeg else png)  # a JPEG is not compressed again
            pictures[kept] = {"scene": picture.rsplit("_", 1)[0], "train": not held_out}
        if not files:
            first = next(iter(found), source)
            raise ValueError(f"{first}: no pictures of {name} here; give {kind.archive} or its folder")
        manifest = dict(
            data=name, source=kind.url, licence=kind.licence, citation=kind.citation, gsd_m=kind.gsd_m,
            published=kind.published, pictures=pictures, files=files,
        )
        put(part / "manifest.json", json.dumps(manifest, indent=1).encode())
    return manifest


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python data_scripts/pictures.py uc_merced",
    )
    parser.add_argument("name", choices=SETS, help="which pictures")
    parser.add_argument("--out", type=Path, help="folder to write (default: data/pictures/NAME)")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--archive", type=Path, help="the zip file, fetched in a browser; nothing is downloaded")
    given.add_argument("--source", type=Path, help="an unpacked folder; nothing is downloaded")
    options = parser.parse_args(arguments)
    out, kind = options.out or Path("data/pictures") / options.name, SETS[options.name]
    try:
        if is_done(options.name, out):
            print(f"{out}: already there and unchanged")
            return 0
        source = options.archive or options.source or download(kind.url, out.parent / kind.archive, md5=kind.md5)
        manifest = write(options.name, source, out)
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    train = sum(one["train"] for one in manifest["pictures"].values())
    of = f" of {kind.published:,} published" if kind.published else ""
    held = len(manifest["pictures"]) - train
    print(f"{out}: {train + held:,} pictures{of}, {held} of them never for training; {kind.licence}; {kind.citation}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
