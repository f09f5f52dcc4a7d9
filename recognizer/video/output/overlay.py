"""Annotates frames, fast enough for every frame: boxes, names, landmarks, objects, clock, rate.

Pillow renders each name once, in a TrueType font; the result, a sprite, is cached and copied into each frame.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.answers import ATTRIBUTES
from recognizer.core.errors import InvalidParameter
from recognizer.core.types import Box, Match
from recognizer.photos import fonts
from recognizer.photos.annotate import (
    FOUND,
    POINT,
    UNKNOWN,
    UNKNOWN_LABEL,
    colour_of,
    line_width,
    object_colour,
    place,
    typeface,
)
from recognizer.photos.results import FoundObject
from recognizer.video.frames import FrameResult, TrackedFace
from recognizer.video.spare_pixels import SparePixels

#: The layers that can be drawn.
LAYERS = ("faces", "landmarks", "landmarks68", "objects", "clock", "fps", *ATTRIBUTES)
#: The layers that are drawn by default.
USUAL_LAYERS = frozenset({"faces"})
#: A face without a decision yet.
UNDECIDED_LABEL = "…"
#: Behind the clock, the frame rate and a card's text.
DARK = (24, 26, 30)
PALE = (190, 196, 204)
#: The lowest rate that calibrations measure is about one in a million; lower ones are not reported more exactly.
_SUREST = 1_000_000
_SPRITE_BYTES = 16_000_000


def parse_layers(text: str) -> frozenset[str]:
    """Layers from a list such as ``faces,clock``; ``none`` alone is no layer.

    Raises
    ------
    InvalidParameter
    """
    words = [word.strip() for word in text.split(",")]
    unknown = [word for word in words if word not in (*LAYERS, "none")]
    if unknown:
        raise InvalidParameter(f"overlay: expected some of {', '.join(LAYERS)}, or none; got {unknown[0]!r}")
    if "none" in words and len(words) > 1:
        raise InvalidParameter("overlay: expected none by itself, or layers without it")
    return frozenset(words) - {"none"}


def draw(
    result: FrameResult,
    *,
    layers: frozenset[str] = USUAL_LAYERS,
    font: Path | None = None,
    width: int | None = None,
    clock: float | None = None,
    fps: float | None = None,
    spare: SparePixels | None = None,
) -> np.ndarray:
    """The frame of `result`, with the layers drawn on it.

    Parameters
    ----------
    result : FrameResult
    layers : frozenset of str
        Of `LAYERS`; empty for the frame as it is.
    font : path, optional
        A TrueType font; else Pillow's own, which has Latin letters only.
    width : int, optional
        The picture is scaled down to this width; it is never scaled up.
    clock : float, optional
        Seconds since the epoch that the clock shows; by default the frame's own time.
    fps : float, optional
        The rate that the layer of this name shows.
    spare : SparePixels, optional
        Memory for the picture.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB, an array that nobody else has.
    """
    picture, factor = _scaled(result.frame.pixels, width, SparePixels(0) if spare is None else spare)
    size = (picture.shape[1], picture.shape[0])
    letters = letter_size(size)
    taken: list[tuple[float, float, float, float]] = []
    if "clock" in layers:
        shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(result.frame.time if clock is None else clock))
        taken.append(_blit(picture, text_sprite(font, letters, DARK, size[0], shown), 0, 0))
    if "fps" in layers and fps is not None:
        sprite = text_sprite(font, letters, DARK, size[0], f"{fps:.0f} fps" if fps >= 9.95 else f"{fps:.1f} fps")
        taken.append(_blit(picture, sprite, size[0] - sprite.shape[1], 0))
    objects = [(each, _times(each.box, factor)) for each in result.objects] if "objects" in layers else []
    boxed = "faces" in layers or not layers.isdisjoint(ATTRIBUTES)
    faces = [(each, _times(each.box, factor)) for each in result.faces] if boxed else []
    for found, box in reversed(objects):
        _outline(picture, box, max(1, line_width(size, box) * 2 // 3), object_colour(found.label))
    for face, box in sorted(faces, key=lambda pair: pair[1].area, reverse=True):
        _outline(picture, box, max(2, line_width(size, box)), colour_of(face.seen) if "faces" in layers else FOUND)
    for face in result.faces:
        for points, radius in _points(face, layers):
            _draw_points(picture, points * factor, max(1.0, radius * factor))
    # Labels last, so that no line crosses them; those of faces by track, so that each keeps its place while others come and go.
    for face, box in faces:
        label = _label(face, font, letters, size[0], layers)
        if label is not None:
            x, y = place(size, box, label.shape[1], label.shape[0], taken)
            taken.append(_blit(picture, label, round(x), round(y)))
    for found, box in objects:
        _label_object(picture, found, box, font, letters, taken)
    return picture


def card(
    width: int,
    height: int,
    title: str,
    reason: str = "",
    font: Path | None = None,
    *,
    clock: float | None = None,
) -> np.ndarray:
    """The card that is shown while there is no picture: a title and the reason, RGB uint8 (height, width, 3).

    Each line of `reason` begins on a new one. `clock`, in seconds since the epoch, is shown in the corner: it shows that
    the server still runs.
    """
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), DARK)
    brush = ImageDraw.Draw(picture)
    room = max(1, round(0.88 * width))
    big, small = max(11, min(width // 16, height // 8)), max(9, min(width // 30, height // 15))
    rows: list[tuple[str, Any, int, Any]] = []
    for text, size, colour, most in [(title, big, "white", 2), *((each, small, PALE, 3) for each in reason.splitlines())]:
        text, own = legible_text(text, font)
        rows += [(line, own, size, colour) for line in _wrapped(text, typeface(own, size), room, most)]
    y = (height - sum(1.4 * size for _, _, size, _ in rows)) / 2
    with _pen:
        for line, own, size, colour in rows:
            brush.text((width / 2, y + 0.7 * size), line, font=typeface(own, size), fill=colour, anchor="mm")
            y += 1.4 * size
        if clock is not None:
            shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(clock))
            brush.text((small / 2, small / 3), shown, font=typeface(font, small), fill=PALE)
    return np.asarray(picture)


def sureness(match: Match) -> str:
    """The confidence of a name in words: of how many pairs of different people one is this similar.

    Empty if that was not measured. Rounded down to 1, 2 or 5 with zeros, so that it does not flicker.
    """
    rate = match.false_match_rate
    if rate is None or rate > 0.5:
        return ""
    if rate <= 1 / _SUREST:
        return f"1 in {_SUREST:,}+"
    pairs, step = 1 / rate, 1
    while step * 10 <= pairs:
        step *= 10
    return f"1 in {max(times * step for times in (1, 2, 5) if times * step <= pairs * 1.000001):,}"


# -- labels ----------------------------------------------------------------------------------------------------------


def letter_size(size: tuple[int, int]) -> int:
    """Height of letters in pixels; the same for all faces of a picture, so that labels do not change their size."""
    return max(12, round(max(size) / 68))


def _label(face: TrackedFace, font: Path | None, letters: int, room: int, layers: frozenset[str]) -> np.ndarray | None:
    """The name of a face, and below it how it looks; None where neither is wanted or known."""
    match, said = face.seen.match, face.seen.attributes
    looks = ", ".join(said.only(layers).labels) if said is not None else ""
    if "faces" not in layers:
        return text_sprite(font, letters, FOUND, room, looks) if looks else None
    if match is None:
        return text_sprite(font, letters, FOUND, room, UNDECIDED_LABEL, looks)
    if match.subject is None:
        return text_sprite(font, letters, UNKNOWN, room, UNKNOWN_LABEL, looks)
    name = match.subject + (" ?" if match.ambiguous else "")
    under = "\n".join(filter(None, (sureness(match), looks)))
    return text_sprite(font, letters, colour_of(face.seen), room, name, under)


class SpriteCache:
    """A cache of rendered labels, which drops the least recently used first. Any thread may call."""

    def __init__(self, most_bytes: int):
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self.size_bytes = 0

    def get(self, key: tuple, make: Callable[[], np.ndarray]) -> np.ndarray:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            made = self._kept[key] = make()
            made.setflags(write=False)
            self.size_bytes += made.nbytes
            while self.size_bytes > self.most_bytes and len(self._kept) > 1:
                self.size_bytes -= self._kept.popitem(last=False)[1].nbytes
            return made

    def __len__(self) -> int:
        return len(self._kept)


_sprites = SpriteCache(_SPRITE_BYTES)
#: Fonts are FreeType objects, which only one thread may use at a time.
_pen = threading.RLock()


def text_sprite(font: Path | None, letters: int, colour: tuple, room: int, text: str, under: str = "") -> np.ndarray:
    """A label: white on `colour`, at most `room` pixels wide, the lines of `under` in smaller letters below."""
    text, own = legible_text(text, font)
    key = (font, own, letters, colour, room, text, under)
    return _sprites.get(key, lambda: render_sprite(font, own, letters, colour, room, text, under))


@lru_cache(maxsize=1024)
def legible_text(text: str, font: Path | None) -> tuple[str, Path | None]:
    """`fonts.choose`, which may look through many fonts: not while the pen is held, and once for each text."""
    return fonts.choose(text, font)


def render_sprite(font, own, letters: int, colour: tuple, room: int, text: str, under: str) -> np.ndarray:
    from PIL import Image, ImageDraw

    with _pen:
        pad = max(2, letters // 4)
        small = typeface(font, max(9, round(0.72 * letters)))
        rows = [(text, typeface(own, letters)), *((line, small) for line in under.splitlines())]
        rows = [(_shortened(line, face, room - 2 * pad), face) for line, face in rows]
        heights = [sum(face.getmetrics()) for _, face in rows]
        width = max(round(face.getlength(line)) for line, face in rows) + 2 * pad
        picture = Image.new("RGB", (max(1, width), sum(heights) + pad), colour)
        brush, y = ImageDraw.Draw(picture), pad // 2
        for (line, face), height in zip(rows, heights, strict=True):
            brush.text((pad, y), line, font=face, fill="white")
            y += height
        return np.asarray(picture)


def _shortened(line: str, face, room: float) -> str:
    if face.getlength(line) <= room:
        return line
    while line and face.getlength(line + "…") > room:
        line = line[:-1]
    return line + "…"


def _wrapped(text: str, face, room: float, most: int) -> list[str]:
    """`text` in at most so many lines, none wider than `room`."""
    lines: list[str] = []
    with _pen:
        for word in text.split():
            if lines and face.getlength(f"{lines[-1]} {word}") <= room:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        if len(lines) > most:
            lines[most - 1 :] = [" ".join(lines[most - 1 :])]
        return [_shortened(line, face, room) for line in lines]


# -- pixels ----------------------------------------------------------------------------------------------------------


def _scaled(pixels: np.ndarray, width: int | None, spare: SparePixels) -> tuple[np.ndarray, float]:
    """A copy, at most so wide, in memory of `spare`, and the factor between them."""
    import cv2

    height, whole = pixels.shape[:2]
    if width is None or width >= whole:
        copy = spare.take(height, whole)
        copy[...] = pixels
        return copy, 1.0
    factor = width / whole
    copy = spare.take(max(1, round(height * factor)), width)
    how = cv2.INTER_AREA if factor <= 0.6 else cv2.INTER_LINEAR  # averaging takes five times as long, and is visible below
    cv2.resize(pixels, copy.shape[1::-1], dst=copy, interpolation=how)
    return copy, factor


def _times(box: Box, factor: float) -> Box:
    return box if factor == 1 else Box(*(edge * factor for edge in box))


def _outline(picture: np.ndarray, box: Box, width: int, colour: tuple[int, int, int]) -> None:
    """A box with a white line around it, so that it shows on any background; what is outside the picture is left out."""
    left, top, right, bottom = (round(edge) for edge in box)
    halo = max(1, width // 2)
    _frame(picture, left - halo, top - halo, right + halo, bottom + halo, halo, (255, 255, 255))
    _frame(picture, left, top, right, bottom, width, colour)


def _frame(picture: np.ndarray, left: int, top: int, right: int, bottom: int, width: int, colour) -> None:
    for x, y, to_x, to_y in (
        (left, top, right, top + width),
        (left, bottom - width, right, bottom),
        (left, top, left + width, bottom),
        (right - width, top, right, bottom),
    ):
        picture[max(0, y) : max(0, to_y), max(0, x) : max(0, to_x)] = colour


def _blit(picture: np.ndarray, sprite: np.ndarray, x: int, y: int) -> tuple[int, int, int, int]:
    """Copy a sprite to x, y, cropped to the picture; returns the area that it covers."""
    x, y = max(0, min(x, picture.shape[1] - 1)), max(0, min(y, picture.shape[0] - 1))
    height, width = min(sprite.shape[0], picture.shape[0] - y), min(sprite.shape[1], picture.shape[1] - x)
    picture[y : y + height, x : x + width] = sprite[:height, :width]
    return x, y, x + width, y + height


def _points(face: TrackedFace, layers: frozenset[str]):
    """The landmarks to draw, and the radius of their dots in the frame's pixels."""
    if "landmarks68" in layers and face.seen.landmarks_68 is not None:
        yield face.seen.landmarks_68, face.box.size / 110
    elif "landmarks" in layers or "landmarks68" in layers:
        yield face.seen.face.landmarks, face.box.size / 50


def _draw_points(picture: np.ndarray, points: np.ndarray, radius: float) -> None:
    import cv2

    centres = [(int(x), int(y)) for x, y in np.round(points * 16)]
    for extra, colour in ((max(1.0, radius / 2), (0, 0, 0)), (0.0, POINT)):
        for centre in centres:
            cv2.circle(picture, centre, round(16 * (radius + extra)), colour, -1, cv2.LINE_AA, 4)


def _label_object(picture, found: FoundObject, box: Box, font: Path | None, letters: int, taken: list) -> None:
    """An object's label and score, at a corner of its box."""
    size, colour = (picture.shape[1], picture.shape[0]), object_colour(found.label)
    # apart: a score that changes makes no new sprite of the label
    sprites = [text_sprite(font, letters, colour, size[0], text) for text in (found.label, f"{found.score:.2f}")]
    height, width = sprites[0].shape[0], sum(sprite.shape[1] for sprite in sprites)
    x, y = map(round, place(size, box, width, height, taken, corner=True))
    taken.append((x, y, x + width, y + height))
    for sprite in sprites:
        x = _blit(picture, sprite, x, y)[2]
