"""Packaging: everything is read from settings.ini, so that names and version ranges stand in one place."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

cfg = ConfigParser(delimiters=["="])
cfg.read("settings.ini", encoding="utf-8")
cfg = cfg["DEFAULT"]
setup(
    name=cfg["lib_name"], version=cfg["version"], description=cfg["description"], keywords=cfg["keywords"],
    author=cfg["author"], author_email=cfg["author_email"], url=cfg["git_url"], license="Apache-2.0",
    long_description=Path("README.md").read_text(encoding="utf-8"), long_description_content_type="text/markdown",
    classifiers=["Development Status :: 3 - Alpha", "Intended Audience :: Education", "Intended Audience :: Science/Research",
                 "Programming Language :: Python :: 3"],
    packages=find_packages(include=["rs_zeroseg", "rs_zeroseg.*"]), package_data={"rs_zeroseg": ["weights/*", "ledger.jsonl"]},
    include_package_data=True, python_requires=">=" + cfg["min_python"],
    install_requires=cfg["requirements"].split(), extras_require={name: cfg[f"{name}_requirements"].split() for name in ("dev", "torchgeo")},
    entry_points={"console_scripts": cfg["console_scripts"].split(), "nbdev": [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
)
