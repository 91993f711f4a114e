@echo off
rem Opens lesson 1 in JupyterLab. Options are handed on to it, e.g. --no-browser.
cd /d "%~dp0"
set PYTHONPATH=
set lesson=workshop/_participant/01_words_and_pixels.ipynb
.venv\Scripts\python -m jupyterlab nbs --LabApp.default_url=/lab/tree/%lesson% --LabApp.news_url=None %*
pause
