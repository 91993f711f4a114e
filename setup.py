"""Packaging: everything is read from settings.ini, so that names and version ranges stand in one place."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

parser = ConfigParser(delimiters=["="])
parser.read("settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]
# lab: notebooks, widgets, plotting; gis: polygons, kept features; cluster: Dask; site: ONNX for a page of its own;
# docs: the documentation; dev: to change the workbook, with all but that
extras = {name: cfg[f"{name}_requirements"].split()
          for name in ("lab", "gis", "cluster", "site", "docs", "torchgeo", "dev")}
extras["dev"] += extras["lab"] + extras["gis"] + extras["cluster"] + extras["site"]
setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords=cfg["keywords"],
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    license="Apache-2.0",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["rs_zeroseg", "rs_zeroseg.*"]),
    package_data={"rs_zeroseg": ["py.typed", "ledger.jsonl", "weights/*/*", "use/static/*"]},
    python_requires=">=" + cfg["min_python"],
    install_requires=cfg["requirements"].split(),
    extras_require=extras,
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "rasterio.rio_plugins": [f"zeroseg={cfg['lib_name']}.use.cli:zeroseg"],
        "nbdev": [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"],
    },
)
