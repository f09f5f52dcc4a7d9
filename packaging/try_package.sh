#!/usr/bin/env bash
# Build the wheel and the source distribution, install each into an environment of its own, and try it from an empty folder:
# packaging/try_package.sh PYTHON [FOLDER]. The distributions are left in FOLDER, if one is named.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
dist=${2:-$scratch/dist}
mkdir -p "$dist"
dist=$(cd "$dist" && pwd)

pip_options=(--quiet --disable-pip-version-check --no-input)
"$root/packaging/make_venv.sh" "$python" "$scratch/build"
"$scratch/build/bin/python" -m pip install "${pip_options[@]}" "build>=1.2,<2"
"$scratch/build/bin/python" -m build --outdir "$dist" "$root" >"$scratch/build.log" 2>&1 || { cat "$scratch/build.log"; exit 1; }

for kind in whl tar.gz; do
    "$root/packaging/make_venv.sh" "$python" "$scratch/$kind"
    # no compiler is to be needed: only face_recognition_models and hug may be built, which hold Python and data alone
    "$scratch/$kind/bin/python" -m pip install "${pip_options[@]}" \
        --only-binary :all: --no-binary face_recognition_models,hug,recognizer,pycparser "$(ls -t "$dist"/recognizer-*."$kind" | head -1)"
    mkdir "$scratch/empty-$kind"
    (cd "$scratch/empty-$kind" && "$scratch/$kind/bin/python" "$root/tests/smoke.py" --package)
    rm -rf "${scratch:?}/$kind"
done
