#!/bin/sh
# Make a virtual environment with pip in it: packaging/make_venv.sh PYTHON FOLDER
# An environment that is there and runs is left alone. On failure one sentence says what to do.
set -eu
python=$1
venv=$2

stop() {
    echo "$1" >&2
    exit 1
}

if [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi
"$python" -c '' 2>/dev/null ||
    stop "$python does not run: install Python 3.10 or newer, or name one with make PYTHON=/path/to/python3."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    stop "Python 3.10 or newer is needed and $python is $("$python" -V 2>&1): name another with make PYTHON=/path/to/python3."

# Debian and Ubuntu keep what venv needs in a package of its own; uv, or the system's pip, can stand in for it.
if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    "$python" -m venv --clear "$venv"
elif command -v uv >/dev/null 2>&1; then
    uv venv --quiet --seed --clear --python "$python" "$venv"
elif "$python" -c 'import venv' 2>/dev/null && "$python" -m pip --python "$(command -v "$python")" --version >/dev/null 2>&1; then
    "$python" -m venv --clear --without-pip "$venv"
    "$python" -m pip --python "$venv/bin/python" install --quiet pip
else
    stop "$python cannot make virtual environments: run apt-get install python3-venv (Debian, Ubuntu) or install uv, then make again."
fi
