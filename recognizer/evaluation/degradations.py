"""Damaged copies of photos: faces that networks were not made for, in kinds and three strengths each.

Every kind is a function of pixels, the face and a strength, and gives the damaged pixels and where the face's centre is in
them. The same photo always gives the same copy. Lengths are shares of the face's box, so that they suit photos of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from recognizer.core.errors import InvalidParameter
from recognizer.core.types import Box, Face

Point = tuple[float, float]
Damage = Callable[[np.ndarray, Face, float], tuple[np.ndarray, Point]]
PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Degradation:
    """One kind of damage at three strengths.

    Attributes
    ----------
    kind : str
    strengths : tuple of float
        From weak to strong; their unit depends on the kind.
    unit : str
        How a strength is written: a format string.
    damage : callable
        Pixels, face and strength -> damaged pixels, uint8 RGB, and x, y of the face's centre in them.
    """

    kind: str
    strengths: tuple[float, ...]
    unit: str
    damage: Damage

    def apply(self, pixels: np.ndarray, face: Face, strength: float) -> tuple[np.ndarray, Point]:
        """The damaged copy of RGB pixels (H, W, 3), contiguous, and the centre of `face` in it."""
        made, centre = self.damage(pixels, face, strength)
        return np.ascontiguousarray(made, np.uint8), centre

    def name(self, strength: float) -> str:
        """Kind and strength, as in tables."""
        return f"{self.kind}, {self.unit.format(strength)}"


def _in_place(change: Callable[[np.ndarray, Box, float], np.ndarray]) -> Damage:
    """A damage that moves nothing."""

    def damage(pixels: np.ndarray, face: Face, strength: float) -> tuple[np.ndarray, Point]:
        made = change(pixels, face.box, strength)
        return np.clip(made, 0, 255).astype(np.uint8), face.box.centre

    return damage


def _random() -> np.random.Generator:
    return np.random.default_rng(7)


# -- geometry -------------------------------------------------------------------------------------------------------


def _warped(pixels: np.ndarray, matrix: np.ndarray, face: Face) -> tuple[np.ndarray, Point]:
    """The whole photo under a linear map, shape (2, 2), on black."""
    import cv2

    height, width = pixels.shape[:2]
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float) @ matrix.T
    low, size = corners.min(axis=0), np.ptp(corners, axis=0)
    whole = np.hstack([matrix, -low[:, None]])
    made = cv2.warpAffine(pixels, whole, tuple(max(1, round(float(side))) for side in size), flags=cv2.INTER_LINEAR)
    x, y = whole @ np.array([*face.box.centre, 1.0])
    return made, (float(x), float(y))


def _turned(pixels: np.ndarray, face: Face, degrees: float) -> tuple[np.ndarray, Point]:
    angle = np.deg2rad(degrees)
    return _warped(pixels, np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), face)


def _resized(pixels: np.ndarray, face: Face, across: float, down: float) -> tuple[np.ndarray, Point]:
    import cv2

    height, width = pixels.shape[:2]
    size = max(1, round(width * across)), max(1, round(height * down))
    x, y = face.box.centre
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), (x * size[0] / width, y * size[1] / height)


def _cut_above(pixels: np.ndarray, face: Face, share: float) -> tuple[np.ndarray, Point]:
    """Without what is above a height: from the eyes (0) downwards, or upwards if negative, in distances eye to mouth."""
    eyes, mouth = face.landmarks[:2, 1].mean(), face.landmarks[3:, 1].mean()
    edge = int(np.clip(round(float(eyes + share * (mouth - eyes))), 0, pixels.shape[0] - 8))
    x, y = face.box.centre
    return pixels[edge:], (x, max(0.0, (y + face.box.bottom) / 2 - edge))


def _half(pixels: np.ndarray, face: Face, share: float) -> tuple[np.ndarray, Point]:
    edge = int(max(8, round(face.box.right - share * face.box.width)))
    return pixels[:, :edge], ((face.box.left + min(edge, face.box.right)) / 2, face.box.centre[1])


def _cut_below(pixels: np.ndarray, face: Face, share: float) -> tuple[np.ndarray, Point]:
    edge = int(max(8, round(face.box.bottom - share * face.box.height)))
    return pixels[:edge], (face.box.centre[0], (face.box.top + min(edge, face.box.bottom)) / 2)


def _bent(pixels: np.ndarray, face: Face, share: float) -> tuple[np.ndarray, Point]:
    """Waves across the photo."""
    import cv2

    height, width = pixels.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    length = 0.5 * face.box.size
    shift = share * face.box.size * np.sin(2 * np.pi * y / length).astype(np.float32)
    return cv2.remap(pixels, x + shift, y, cv2.INTER_LINEAR), face.box.centre


def _swirled(pixels: np.ndarray, face: Face, turn: float) -> tuple[np.ndarray, Point]:
    """Turned around the face's centre, the more the nearer."""
    import cv2

    height, width = pixels.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    cx, cy = face.box.centre
    angle = turn * np.exp(-np.hypot(x - cx, y - cy) / (0.5 * face.box.size))
    cos, sin = np.cos(angle), np.sin(angle)
    across, down = cos * (x - cx) - sin * (y - cy) + cx, sin * (x - cx) + cos * (y - cy) + cy
    return cv2.remap(pixels, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR), face.box.centre


# -- tones ----------------------------------------------------------------------------------------------------------


def _negative(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    """A negative: 0.6 is a pale one, 1 a full one."""
    return 127.5 - share * (pixels.astype(np.float32) - 127.5)


def _posterised(pixels: np.ndarray, box: Box, levels: float) -> np.ndarray:
    return np.floor(pixels.astype(np.float32) / 256 * levels) * (255 / (levels - 1))


def _dark(pixels: np.ndarray, box: Box, gain: float) -> np.ndarray:
    return pixels * gain + _random().normal(0, 1.5, pixels.shape)


def _bright(pixels: np.ndarray, box: Box, gain: float) -> np.ndarray:
    return 255 - (255 - pixels.astype(np.float32)) * gain * (pixels < 250) if gain < 1 else pixels * np.float32(gain)


def _pale(pixels: np.ndarray, box: Box, gain: float) -> np.ndarray:
    return 150 + gain * (pixels.astype(np.float32) - 128)


def _black_white(pixels: np.ndarray, box: Box, limit: float) -> np.ndarray:
    grey = pixels.mean(axis=2)
    inside = grey[max(0, int(box.top)) : int(box.bottom), max(0, int(box.left)) : int(box.right)]
    level = np.quantile(inside, limit) if inside.size else 128.0
    return np.repeat(255.0 * (grey > level)[..., None], 3, axis=2)


def _solarised(pixels: np.ndarray, box: Box, limit: float) -> np.ndarray:
    return np.where(pixels > limit, 255 - pixels, pixels).astype(np.float32)


def _false_colours(pixels: np.ndarray, box: Box, table: float) -> np.ndarray:
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return cv2.applyColorMap(grey, (cv2.COLORMAP_BONE, cv2.COLORMAP_JET, cv2.COLORMAP_HSV)[int(table) - 1])[..., ::-1]


def _tinted(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    grey = pixels.mean(axis=2, keepdims=True)
    return (1 - share) * pixels + share * grey * np.array([0.1, 0.3, 1.8])


def _side_light(pixels: np.ndarray, box: Box, darkest: float) -> np.ndarray:
    x = np.arange(pixels.shape[1])
    light = darkest + (1 - darkest) / (1 + np.exp((x - box.centre[0]) / (0.05 * box.size)))
    return pixels * light[None, :, None]


def _light_from(pixels: np.ndarray, box: Box, darkest: float, sign: int) -> np.ndarray:
    """Light from above (1) or from below (-1)."""
    y = sign * (np.arange(pixels.shape[0]) - box.centre[1])
    light = darkest + (1 - darkest) / (1 + np.exp(y / (0.07 * box.size)))
    return pixels * light[:, None, None]


# -- texture --------------------------------------------------------------------------------------------------------


def _jpeg(pixels: np.ndarray, box: Box, quality: float) -> np.ndarray:
    import cv2

    data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None, "what was just encoded can be decoded"
    return decoded[..., ::-1]


def _blurred(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(pixels, (0, 0), share * box.size)


def _shaken(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    import cv2

    length = max(3, round(share * box.size))
    return cv2.filter2D(pixels, -1, np.full((1, length), 1 / length, np.float32))


def _shaken_upwards(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    return _shaken(pixels.transpose(1, 0, 2), box, share).transpose(1, 0, 2)


def _swollen(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    """Bright parts grow, or, if negative, dark ones."""
    import cv2

    size = max(3, round(abs(share) * box.size) | 1)
    return (cv2.dilate if share > 0 else cv2.erode)(pixels, np.ones((size, size), np.uint8))


def _noisy(pixels: np.ndarray, box: Box, sigma: float) -> np.ndarray:
    return pixels + _random().normal(0, sigma, pixels.shape)


def _speckled(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    drawn = _random().random(pixels.shape[:2])[..., None]
    return np.where(drawn < share / 2, 0, np.where(drawn > 1 - share / 2, 255, pixels))


def _mosaic(pixels: np.ndarray, box: Box, cells: float) -> np.ndarray:
    import cv2

    height, width = pixels.shape[:2]
    factor = cells / box.size
    small = cv2.resize(pixels, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def _frosted(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    """Each pixel is replaced by one nearby."""
    height, width = pixels.shape[:2]
    reach, random = share * box.size, _random()
    y, x = np.mgrid[0:height, 0:width]
    y = np.clip(y + random.normal(0, reach, y.shape).round().astype(int), 0, height - 1)
    x = np.clip(x + random.normal(0, reach, x.shape).round().astype(int), 0, width - 1)
    return pixels[y, x]


def _drawn(pixels: np.ndarray, box: Box, gain: float) -> np.ndarray:
    """A pencil drawing: grey divided by its blurred self."""
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) + 1
    ratio = np.minimum(1, grey / (cv2.GaussianBlur(grey, (0, 0), 0.04 * box.size) + 1))
    return np.repeat((255 * ratio**gain)[..., None], 3, axis=2)


def _embossed(pixels: np.ndarray, box: Box, gain: float) -> np.ndarray:
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    kernel = np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]], np.float32)
    return np.repeat((128 + gain * cv2.filter2D(grey, cv2.CV_32F, kernel))[..., None], 3, axis=2)


def _painted(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    import cv2

    return cv2.medianBlur(np.ascontiguousarray(pixels), min(255, max(3, 2 * round(share * box.size / 2) + 1)))


def _interlaced(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    made, shift = pixels.copy(), max(1, round(share * box.size))
    made[1::2] = np.roll(made[1::2], shift, axis=1)
    return made


def _barred(pixels: np.ndarray, box: Box, share: float) -> np.ndarray:
    """Behind black bars."""
    made, period = pixels.copy(), max(4, round(0.25 * box.size))
    made[:, np.arange(pixels.shape[1]) % period < share * period] = 0
    return made


def _brow_covered(pixels: np.ndarray, face: Face, share: float) -> tuple[np.ndarray, Point]:
    """Grey from the top down to a height: that of the eyes (0), or above it if negative, in distances eye to mouth."""
    made = pixels.copy()
    eyes, mouth = face.landmarks[:2, 1].mean(), face.landmarks[3:, 1].mean()
    made[: max(0, int(eyes + share * (mouth - eyes)))] = 128
    return made, face.box.centre


def _eyes_covered(pixels: np.ndarray, face: Face, share: float) -> tuple[np.ndarray, Point]:
    made, box = pixels.copy(), face.box
    eyes = float(face.landmarks[:2, 1].mean())
    half = share * box.height / 2
    made[max(0, int(eyes - half)) : int(eyes + half), max(0, int(box.left)) : int(box.right)] = 0
    return made, box.centre


def _mouth_covered(pixels: np.ndarray, face: Face, share: float) -> tuple[np.ndarray, Point]:
    """A mask, from the chin up to a share of the face."""
    made, box = pixels.copy(), face.box
    made[max(0, int(box.bottom - share * box.height)) : int(box.bottom), max(0, int(box.left)) : int(box.right)] = (
        190,
        205,
        215,
    )
    return made, box.centre


DEGRADATIONS: tuple[Degradation, ...] = (
    Degradation("turned", (90, 135, 180), "{:g} degrees", _turned),
    Degradation("tilted", (30, 45, 60), "{:g} degrees", _turned),
    Degradation("negative", (0.6, 0.8, 1), "{:.0%}", _in_place(_negative)),
    Degradation("JPEG", (10, 5, 2), "quality {:g}", _in_place(_jpeg)),
    Degradation("posterised", (4, 3, 2), "{:g} levels", _in_place(_posterised)),
    Degradation("head cut off", (-0.4, -0.15, 0.1), "{:+.0%} from the eyes", _cut_above),
    Degradation("blurred", (0.04, 0.07, 0.1), "{:.0%} of the face", _in_place(_blurred)),
    Degradation("squeezed", (0.65, 0.5, 0.35), "to {:.0%} of the width", lambda p, f, s: _resized(p, f, s, 1)),
    Degradation("half a face", (0.35, 0.5, 0.6), "{:.0%} missing", _half),
    Degradation("tiny", (20, 16, 12), "{:g} px", lambda p, f, s: _resized(p, f, s / f.box.size, s / f.box.size)),
    Degradation("dark", (0.1, 0.05, 0.025), "light x {:g}", _in_place(_dark)),
    Degradation("flattened", (0.65, 0.5, 0.35), "to {:.0%} of the height", lambda p, f, s: _resized(p, f, 1, s)),
    Degradation("sheared", (0.3, 0.6, 0.9), "{:.0%}", lambda p, f, s: _warped(p, np.array([[1, s], [0, 1]]), f)),
    Degradation("chin cut off", (0.3, 0.45, 0.55), "{:.0%} missing", _cut_below),
    Degradation("waves", (0.04, 0.08, 0.12), "{:.0%} of the face", _bent),
    Degradation("swirl", (0.8, 1.6, 2.4), "{:g} rad", _swirled),
    Degradation("bright", (3, 6, 12), "light x {:g}", _in_place(_bright)),
    Degradation("pale", (0.2, 0.1, 0.04), "contrast x {:g}", _in_place(_pale)),
    Degradation("black and white", (0.65, 0.5, 0.35), "at quantile {:g}", _in_place(_black_white)),
    Degradation("solarised", (160, 128, 90), "above {:g}", _in_place(_solarised)),
    Degradation("false colours", (1, 2, 3), "table {:g}", _in_place(_false_colours)),
    Degradation("tinted", (0.5, 0.8, 1), "{:.0%}", _in_place(_tinted)),
    Degradation("side light", (0.2, 0.08, 0.02), "darkest x {:g}", _in_place(_side_light)),
    Degradation("lit from above", (0.15, 0.05, 0.02), "darkest x {:g}", _in_place(lambda p, b, s: _light_from(p, b, s, 1))),
    Degradation("lit from below", (0.15, 0.05, 0.02), "darkest x {:g}", _in_place(lambda p, b, s: _light_from(p, b, s, -1))),
    Degradation("shaken", (0.15, 0.3, 0.45), "{:.0%} of the face", _in_place(_shaken)),
    Degradation("shaken upwards", (0.1, 0.15, 0.3), "{:.0%} of the face", _in_place(_shaken_upwards)),
    Degradation("bright parts grown", (0.05, 0.1, 0.15), "{:.0%} of the face", _in_place(_swollen)),
    Degradation("dark parts grown", (-0.05, -0.1, -0.15), "{:.0%} of the face", _in_place(_swollen)),
    Degradation("noisy", (40, 80, 140), "sigma {:g}", _in_place(_noisy)),
    Degradation("speckled", (0.15, 0.35, 0.6), "{:.0%} of the pixels", _in_place(_speckled)),
    Degradation("mosaic", (16, 11, 8), "{:g} cells", _in_place(_mosaic)),
    Degradation("frosted", (0.03, 0.06, 0.09), "{:.0%} of the face", _in_place(_frosted)),
    Degradation("drawn", (1.5, 3, 6), "gain {:g}", _in_place(_drawn)),
    Degradation("embossed", (0.5, 1, 2), "gain {:g}", _in_place(_embossed)),
    Degradation("painted", (0.1, 0.2, 0.3), "{:.0%} of the face", _in_place(_painted)),
    Degradation("interlaced", (0.06, 0.12, 0.2), "{:.0%} of the face", _in_place(_interlaced)),
    Degradation("barred", (0.25, 0.5, 0.65), "{:.0%} covered", _in_place(_barred)),
    Degradation("eyes covered", (0.15, 0.25, 0.4), "{:.0%} of the height", _eyes_covered),
    Degradation("brow covered", (-0.3, -0.15, 0.1), "{:+.0%} from the eyes", _brow_covered),
    Degradation("mouth covered", (0.35, 0.45, 0.55), "{:.0%} of the height", _mouth_covered),
)


def degradations(kinds: Collection[str] = ()) -> Iterator[tuple[Degradation, float]]:
    """Every kind at each of its strengths, or only the named kinds.

    Raises
    ------
    InvalidParameter
        There is no such kind.
    """
    known = [each.kind for each in DEGRADATIONS]
    wrong = [kind for kind in kinds if kind not in known]
    if wrong:
        raise InvalidParameter(f"expected kinds of {', '.join(known)}, got {wrong[0]!r}")
    for each in DEGRADATIONS:
        if not kinds or each.kind in kinds:
            for strength in each.strengths:
                yield each, strength
