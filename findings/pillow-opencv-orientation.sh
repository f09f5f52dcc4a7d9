#!/usr/bin/env bash
# Pillow 13.0.0 and OpenCV 5.0.0.93 (opencv-python-headless, read 2026-11-30): both turn photos upright, and disagree on two kinds of
# valid files. A JPEG or WebP whose orientation stands in XMP alone, as archives write it, is turned by ImageOps.exif_transpose and not
# by cv2.imread. An AVIF that Pillow has written with an orientation is turned when Pillow reads it and lies on its side in OpenCV, which
# turns JPEG, PNG, WebP and TIFF. Boxes of faces that one library found are then on other places of the picture that the
# other shows, and faces on their side are mostly not found at all, without any error.
#
#   bash findings/pillow-opencv-orientation.sh
#
# Installs the pinned packages into a temporary folder, writes pictures of 80x40 that are to be turned by 90 degrees, and prints the
# sizes that each reads. Ends with 0 while this is so, with 1 when it has changed.
source "$(dirname "$0")/shared/setup.sh"
environment client pillow==13.0.0 opencv-python-headless==5.0.0.93
cat > "$work/try.py" <<'PY'
import io
import sys

import cv2
import numpy as np
from PIL import Image, ImageOps

XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>"""
EXIF = Image.Exif()
EXIF[274] = 6
UPRIGHT, LYING = (40, 80), (80, 40)


def sizes(format: str, **how) -> list[tuple[int, int]]:
    """Width and height that Pillow and OpenCV read."""
    file = io.BytesIO()
    Image.new("RGB", LYING, "white").save(file, format, **how)
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        pillow = ImageOps.exif_transpose(opened).size
    pixels = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    found = [pillow, pixels.shape[1::-1]]
    print(f"{format} with {' and '.join(how)}: Pillow {found[0]}, OpenCV {found[1]}")
    return found


agree = [sizes(format, exif=EXIF) for format in ("JPEG", "PNG", "WEBP")]
differ = [sizes(format, xmp=XMP) for format in ("JPEG", "WEBP")] + [sizes("AVIF", exif=EXIF)]
sys.exit(agree != [[UPRIGHT, UPRIGHT]] * 3 or differ != [[UPRIGHT, LYING]] * 3)
PY
if "$work/client/bin/python" "$work/try.py"; then as_described "they disagree on XMP and on AVIF"; else changed; fi
