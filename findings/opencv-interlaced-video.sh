#!/usr/bin/env bash
# OpenCV 5.0.0.93 (opencv-python-headless, Linux x86_64, read 2026-11-29): VideoCapture.read() returns True for frames of
# interlaced video, and the picture is not the video's: it was never converted. 4.11.0.86 reads the same file correctly.
# A reader that trusts the return value shows black or arbitrary pictures without any error.
#
#   bash findings/opencv-interlaced-video.sh
#
# Installs pinned packages into a temporary folder, makes a valid interlaced MPEG-2 film of one grey picture with the ffmpeg
# of imageio-ffmpeg, and reads it with both. Ends with 0 while this is so, with 1 when it has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/read.py" <<'PY'
import sys

import cv2

film = cv2.VideoCapture(sys.argv[1])
worst, frames = 0.0, 0
while True:
    ok, picture = film.read()
    if not ok:
        break
    frames += 1
    worst = max(worst, abs(float(picture.mean()) - 180))
print(f"{cv2.__version__}: {frames} frames reported as read, mean grey differs from 180 by up to {worst:.0f}")
sys.exit(0 if frames == 0 else 3 if worst < 10 else 4)
PY
for version in 4.11.0.86 5.0.0.93; do
    python3 -m venv "$work/$version"
    "$work/$version/bin/python" -m pip install -q --disable-pip-version-check --only-binary :all: \
        "opencv-python-headless==$version" imageio-ffmpeg==0.6.0
done
ffmpeg=$("$work/5.0.0.93/bin/python" -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
"$ffmpeg" -loglevel error -f lavfi -i color=c=0xb4b4b4:s=320x240:r=25:d=1 -c:v mpeg2video -flags +ilme+ildct -top 1 \
    -b:v 2M "$work/film.mpg"
old=0 new=0
"$work/4.11.0.86/bin/python" "$work/read.py" "$work/film.mpg" || old=$?
"$work/5.0.0.93/bin/python" "$work/read.py" "$work/film.mpg" || new=$?
if [ "$old" = 3 ] && [ "$new" = 4 ]; then
    echo "as described: 4.11.0.86 is right, 5.0.0.93 reports success for pictures that are not the film's"
else
    echo "this has changed (4.11.0.86: $old, 5.0.0.93: $new)"
    exit 1
fi
