#!/usr/bin/env bash
# PyAV 18.1.0 and OpenCV 5.0.0.93 (opencv-python-headless, read 2026-11-30): a film that is stored lying, as phones store films that
# were taken upright, is turned by OpenCV and not by PyAV: to_ndarray() and to_image() of a frame lie on their side, and faces on them
# are mostly not found. Both name the angle, in opposite directions: the same film has frame.rotation 90, which is
# counter-clockwise, and CAP_PROP_ORIENTATION_META 270, which is clockwise. Turning PyAV's frames by OpenCV's number turns them upside down.
#
#   bash findings/pyav-opencv-rotation.sh
#
# Installs pinned packages into a temporary folder, makes a film with the ffmpeg of imageio-ffmpeg, half white and half black, and
# compares what each reads with what ffmpeg itself shows. Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client av==18.1.0 opencv-python-headless==5.0.0.93 imageio-ffmpeg==0.8.1
cd "$work"
ffmpeg=$(client/bin/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')
"$ffmpeg" -loglevel error -f lavfi -i color=black:s=320x240:r=25:d=1 -vf drawbox=w=160:h=240:color=white:t=fill -c:v libx264 stored.mp4
"$ffmpeg" -loglevel error -display_rotation 90 -i stored.mp4 -c copy film.mp4
"$ffmpeg" -loglevel error -i film.mp4 -frames:v 1 shown.png
cat > try.py <<'PY'
import sys

import av
import cv2
import numpy as np

shown = cv2.imread("shown.png")
film = cv2.VideoCapture("film.mp4")
_, by_opencv = film.read()
clockwise = int(film.get(cv2.CAP_PROP_ORIENTATION_META))
with av.open("film.mp4") as opened:
    frame = next(opened.decode(video=0))
    by_pyav, counter_clockwise = frame.to_ndarray(format="bgr24"), frame.rotation


def is_shown(picture: np.ndarray) -> bool:
    """Whether a picture is what ffmpeg shows, but for how colours are rounded."""
    return picture.shape == shown.shape and bool(np.abs(picture.astype(int) - shown).mean() < 10)


print(f"ffmpeg shows {shown.shape[1::-1]}, OpenCV {by_opencv.shape[1::-1]}, PyAV {by_pyav.shape[1::-1]}")
print(f"OpenCV's angle {clockwise}, PyAV's {counter_clockwise}")
turned = [is_shown(np.rot90(by_pyav, angle // 90)) for angle in (counter_clockwise, clockwise)]
print("turned counter-clockwise by PyAV's angle and by OpenCV's, PyAV's picture is the one that is shown:", turned)
sys.exit(not is_shown(by_opencv) or is_shown(by_pyav) or (clockwise, counter_clockwise) != (270, 90) or turned != [True, False])
PY
if client/bin/python try.py; then as_described "OpenCV turns, PyAV does not, and their angles have opposite directions"; else changed; fi
