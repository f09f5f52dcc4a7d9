#!/usr/bin/env bash
# face_recognition 1.3.0 with face_recognition_models 0.3.0 and setuptools 84.2.1 (read 2026-11-30): `import face_recognition` ends the
# whole program, with the exit status 0, and no `except Exception` sees it: it calls quit(). It asks to install
# face_recognition_models, which is installed: what is missing is pkg_resources, which setuptools has had only up to version 81.
# A service that is watched by its exit status seems to have ended as it should. setuptools<82 helps, installing the models again
# does not.
#
#   bash findings/face-recognition-import-ends-program.sh
#
# Installs the pinned packages into a temporary folder, dlib from its wheel, and imports with both versions of setuptools.
# Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
python3 -m venv "$work/client"
pip=("$work/client/bin/python" -m pip install -q --disable-pip-version-check)
"${pip[@]}" --only-binary :all: dlib-bin==20.0.1.post1 numpy pillow click setuptools==84.2.1
"${pip[@]}" --no-deps face_recognition==1.3.0
"${pip[@]}" --no-deps --no-build-isolation face_recognition_models==0.3.0
cd "$work"
cat > try.py <<'PY'
try:
    import face_recognition
except Exception as error:
    print("an error was raised:", error)
print("the program goes on")
PY
new=0
client/bin/python try.py > new.txt 2>&1 || new=$?
sed 's/^/setuptools 84: /' new.txt
echo "setuptools 84: exit status $new"
"${pip[@]}" setuptools==81.0.0
client/bin/python -W ignore try.py > old.txt 2>&1 || true
sed 's/^/setuptools 81: /' old.txt
if [ "$new" = 0 ] && grep -q "Please install .face_recognition_models" new.txt && ! grep -q "goes on" new.txt \
    && ! grep -q error old.txt && grep -q "goes on" old.txt; then
    as_described "the import ends the program with the status 0, and names a package that is there"
else
    changed
fi
