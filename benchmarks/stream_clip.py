"""A 720p clip of two to three people who move about, and a camera that shows it: MJPEG over HTTP, in a process of its own.

    python benchmarks/stream_clip.py FOLDER PORT

Frame `k` is sent at `START + k / FPS` by the system's clock, whoever asks for it, where START is the line that is printed
first and FPS a parameter of the URL (/clip?fps=30). Its number modulo the clip's length stands in the frame, in black and
white cells, so a viewer can tell how long ago what it sees was sent. A reader that is slow misses frames.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import report  # noqa: F401  makes the package importable

WIDTH, HEIGHT, FPS, FRAMES = 1280, 720, 30, 300
#: Who is enrolled, from which photo; the third person is a stranger.
ENROLLED = {"Barack Obama": "obama.jpg", "Joe Biden": "biden.jpg"}
_SHOWN = ("obama2.jpg", "biden.jpg", "astronaut.png")
_FACE = 130
_BITS, _CELL = 10, 20


def make(folder: Path) -> Path:
    """The clip in `folder`, made if it is not there: its JPEGs one after the other, where each begins, and an .mp4."""
    import cv2
    import simplejpeg

    done = folder / "clip.json"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    people = [_person(name) for name in _SHOWN]
    ends = []
    writer = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    with open(folder / "clip.mjpeg", "wb") as file:
        for number in range(FRAMES):
            frame = _frame(people, number)
            file.write(simplejpeg.encode_jpeg(frame, 90))
            ends.append(file.tell())
            writer.write(frame[..., ::-1])
    writer.release()
    done.write_text(json.dumps(ends))
    return folder


def _person(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Head and shoulders of a photo's largest face, and how much of each pixel belongs to it."""
    import cv2
    import face_recognition

    from tests.photos import fetch_photos

    photo = face_recognition.load_image_file(fetch_photos(name)[name])
    top, right, bottom, left = max(face_recognition.face_locations(photo), key=lambda box: box[2] - box[0])
    size = bottom - top
    photo = photo[max(0, top - size) : bottom + size, max(0, left - size) : right + size]
    scale = _FACE / size
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    y, x = np.mgrid[-1 : 1 : photo.shape[0] * 1j, -1 : 1 : photo.shape[1] * 1j]
    return photo, np.clip(4 * (1 - np.hypot(x, y)), 0, 1)[..., None]


def _frame(people, number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    frame = np.linspace((70, 90, 110), (150, 140, 120), WIDTH)[None] * np.ones((HEIGHT, 1, 1))
    frame += rng.normal(0, 3, (HEIGHT, WIDTH, 1))  # a sensor is never quiet
    turn = 2 * np.pi * number / FRAMES
    for place, (photo, mask) in enumerate(people):
        if place == 2 and number < FRAMES // 3:
            continue
        height, width = photo.shape[:2]
        x = int(WIDTH * (0.18 + 0.32 * place) + 110 * np.sin(turn * 2 + place) - width / 2)
        y = int(HEIGHT * 0.48 + 60 * np.cos(turn * 3 + 2 * place) - height / 2)
        x, y = min(max(0, x), WIDTH - width), min(max(0, y), HEIGHT - height)
        frame[y : y + height, x : x + width] += mask * (photo - frame[y : y + height, x : x + width])
    frame = np.clip(frame, 0, 255).astype(np.uint8)
    bits = [number >> bit & 1 for bit in range(_BITS)]
    for cell, bit in enumerate(bits + [1 - bit for bit in bits]):
        frame[-_CELL:, cell * _CELL : (cell + 1) * _CELL] = 255 * bit
    return frame


def number_in(pixels: np.ndarray) -> int | None:
    """Which frame of the clip a picture shows; None of any other picture, such as a card."""
    cell = _CELL * pixels.shape[1] / WIDTH
    cells = [pixels[int(-cell / 2), int((i + 0.5) * cell), 1] > 127 for i in range(2 * _BITS)]
    if any(cells[i] == cells[i + _BITS] for i in range(_BITS)):
        return None
    return sum(bool(cells[bit]) << bit for bit in range(_BITS))


def delay(number: int, came: float, start: float, fps: float) -> float:
    """Seconds between the sending of the frame and `came`; the clip repeats, so at most the clip's length."""
    return (came - start - number / fps) % (FRAMES / fps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    data = (options.folder / "clip.mjpeg").read_bytes()
    ends = json.loads((options.folder / "clip.json").read_text())
    jpegs = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    parts = [b"--clip\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg) for jpeg in jpegs]
    start = time.time()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            fps = float(parse_qs(urlsplit(self.path).query).get("fps", [FPS])[0])
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=clip")
            self.end_headers()
            try:
                while True:
                    number = int((time.time() - start) * fps) + 1
                    time.sleep(max(0.0, start + number / fps - time.time()))
                    self.wfile.write(parts[number % len(parts)])
            except OSError:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    print(start, flush=True)
    sys.stdout.close()
    server.serve_forever()


if __name__ == "__main__":
    main()
