"""What stream.py compares with: the loop of face_recognition's webcam example, on a clip instead of a webcam.

    python benchmarks/webcam_example.py CLIP SECONDS PHOTO [PHOTO ...]

Of every frame at its full size, all faces are located, encoded, compared with the known ones and drawn with OpenCV. As JSON:
frames, seconds, and how many faces got each name. Nothing is shown in a window, which would cost time.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import face_recognition
import numpy as np


def main() -> None:
    clip, seconds, photos = sys.argv[1], float(sys.argv[2]), [Path(each) for each in sys.argv[3:]]
    known = [face_recognition.face_encodings(face_recognition.load_image_file(photo))[0] for photo in photos]
    names: Counter[str] = Counter()
    capture = cv2.VideoCapture(clip)
    frames, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        there, frame = capture.read()
        if not there:
            capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            continue
        picture = np.ascontiguousarray(frame[:, :, ::-1])
        places = face_recognition.face_locations(picture)
        for (top, right, bottom, left), encoding in zip(places, face_recognition.face_encodings(picture, places), strict=True):
            distances = face_recognition.face_distance(known, encoding)
            best = int(np.argmin(distances))
            name = photos[best].stem if face_recognition.compare_faces(known, encoding)[best] else "unknown"
            cv2.rectangle(frame, (left, top), (right, bottom), (0, 0, 255), 2)
            cv2.rectangle(frame, (left, bottom - 35), (right, bottom), (0, 0, 255), cv2.FILLED)
            cv2.putText(frame, name, (left + 6, bottom - 6), cv2.FONT_HERSHEY_DUPLEX, 1.0, (255, 255, 255), 1)
            names[name] += 1
        frames += 1
    print(json.dumps({"frames": frames, "seconds": time.perf_counter() - begun, "names": names}))


if __name__ == "__main__":
    main()
