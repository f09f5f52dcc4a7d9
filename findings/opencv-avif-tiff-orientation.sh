#!/usr/bin/env bash
# OpenCV 5.0.0.93 (opencv-python-headless, Linux x86_64, read 2026-11-30) with pictures that Pillow 13.0.0 wrote with the same
# orientation, 6: imread() turns JPEG, PNG and WebP upright, and hands AVIF over as it lies, although the file has the box that turns
# it (irot) and everything else shows it upright. Faces on it are mostly not found, and nothing says why. A TIFF of that
# orientation cannot be read from a file at all: imread() returns None. imdecode() of the same bytes gives it upright.
# AVIF has to be turned by the program, or read with Pillow; files are better read as bytes and given to imdecode().
#
#   bash findings/opencv-avif-tiff-orientation.sh
#
# Installs the pinned packages into a temporary folder, and writes a picture of 200x100 in each format, which is upright as 100x200.
# Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client opencv-python-headless==5.0.0.93 pillow==13.0.0
cd "$work"
cat > try.py <<'PY'
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

stored = Image.new("RGB", (200, 100), "black")
stored.paste("white", (0, 0, 100, 100))
found = {}
for kind in ("jpeg", "png", "webp", "avif", "tiff"):
    path, exif = Path(f"photo.{kind}"), Image.Exif()
    exif[0x0112] = 6
    stored.save(path, exif=exif)
    with Image.open(path) as photo:
        by_pillow = ImageOps.exif_transpose(photo).size
    data = np.frombuffer(path.read_bytes(), np.uint8)
    sizes = [None if seen is None else seen.shape[1::-1] for seen in (cv2.imread(path), cv2.imdecode(data, cv2.IMREAD_COLOR))]
    found[kind] = [size == by_pillow for size in sizes]
    print(f"{kind}: Pillow {by_pillow}, imread {sizes[0]}, imdecode {sizes[1]}")
    if by_pillow != (100, 200):
        sys.exit(1)
turned = {"jpeg": [True, True], "png": [True, True], "webp": [True, True], "avif": [False, False], "tiff": [False, True]}
sys.exit(found != turned)
PY
if client/bin/python try.py 2> /dev/null; then as_described "AVIF is not turned, a turned TIFF is not read"; else changed; fi
