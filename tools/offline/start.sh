#!/bin/sh
# Opens lesson 1 in JupyterLab. Options are handed on to it, e.g. --no-browser.
cd "$(dirname "$0")" || exit 1
unset PYTHONPATH PYTHONHOME
lesson=workshop/_participant/01_words_and_pixels.ipynb
exec .venv/bin/python -m jupyterlab nbs --LabApp.default_url="/lab/tree/$lesson" --LabApp.news_url=None "$@"
