@echo off
rem Installs the kit without a network; README.md says more.
cd /d "%~dp0"
where py > nul 2> nul
if %errorlevel% equ 0 (py -@PYTHON@ install.py %*) else (python install.py %*)
if %errorlevel% neq 0 echo This kit needs Python @PYTHON@ (64 bit).
pause
