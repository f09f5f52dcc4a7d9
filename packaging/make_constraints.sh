#!/usr/bin/env bash
# Write the versions of all packages that recognizer needs, with the hashes of their files, for every supported Python and platform:
# packaging/make_constraints.sh FILE. Then, with a Python and a wheel, install exactly these and try the wheel with them:
# packaging/make_constraints.sh FILE PYTHON WHEEL. Needs uv for the first.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
file=$1

if [ $# -gt 1 ]; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$root/packaging/make_venv.sh" "$2" "$scratch/venv"
    install=("$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input)
    "${install[@]}" --require-hashes -r "$file"
    "${install[@]}" --no-deps "$3"
    "$scratch/venv/bin/python" -m pip check
    mkdir "$scratch/empty"
    (cd "$scratch/empty" && "$scratch/venv/bin/python" "$root/tests/smoke.py" --package)
    exit
fi

uv pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.10 \
    --custom-compile-command "packaging/make_constraints.sh" "$root/pyproject.toml" -o "$file"
