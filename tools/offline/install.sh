#!/bin/sh
# Installs the kit without a network; README.md says more. PYTHON=... chooses the interpreter.
cd "$(dirname "$0")" || exit 1
for python in "${PYTHON:-python@PYTHON@}" python3 python; do
    if "$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "@PYTHON@")' 2> /dev/null; then
        exec "$python" install.py "$@"
    fi
done
echo "Error: this kit needs Python @PYTHON@, and none was found. Start it with PYTHON=/path/to/python@PYTHON@ ./install.sh" >&2
exit 2
