"""The functions of face_recognition.api, with the same arguments, return types and errors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import IO, Any, NamedTuple, TypeAlias

import numpy as np

from recognizer.core.types import PARTS_68
from recognizer.engines.dlib.native import HogDetector, predictor
from recognizer.engines.dlib.onnx import Mmod, ResNet, face_chips

#: top, right, bottom, left
Css: TypeAlias = tuple[int, int, int, int]
#: A ``dlib.rectangle``; dlib has no types.
Rectangle: TypeAlias = Any


class _CnnDetection(NamedTuple):
    """The same attributes as dlib.mmod_rectangle, which cannot be created from Python."""

    rect: Rectangle
    confidence: float


@cache
def _hog() -> HogDetector:
    return HogDetector()


@cache
def _cnn() -> Mmod:
    return Mmod()


@cache
def _resnet() -> ResNet:
    return ResNet()


def load_image_file(file: str | os.PathLike[str] | IO[bytes], mode: str = "RGB") -> np.ndarray:
    """Read an image file as an array: uint8, shape (H, W, 3), or (H, W) with mode ``"L"``.

    The EXIF orientation is not applied, as in face_recognition.

    Parameters
    ----------
    file : str, path or binary file
    mode : str
        A mode of Pillow.
    """
    from PIL import Image

    with Image.open(file) as image:
        return np.array(image.convert(mode) if mode else image)


def _rect_to_css(rect: Rectangle) -> Css:
    return rect.top(), rect.right(), rect.bottom(), rect.left()


def _css_to_rect(css: Css) -> Rectangle:
    import dlib

    return dlib.rectangle(css[3], css[0], css[1], css[2])


def _trim_css_to_bounds(css: Css, image_shape: Sequence[int]) -> Css:
    return max(css[0], 0), min(css[1], image_shape[1]), min(css[2], image_shape[0]), max(css[3], 0)


def _require_array(img: object) -> None:
    if not isinstance(img, np.ndarray):
        raise TypeError(f"expected an image as a NumPy array, got {type(img).__name__}")


def _raw_face_locations(img: np.ndarray, number_of_times_to_upsample: int = 1, model: str = "hog") -> list[Any]:
    _require_array(img)
    if model != "cnn":
        return _hog().raw_rectangles(img, number_of_times_to_upsample)[0]
    import dlib

    if img.dtype != np.uint8 or not (img.ndim == 2 or (img.ndim == 3 and img.shape[2] == 3)):
        raise RuntimeError("Unsupported image type, must be 8bit gray or RGB image.")  # dlib's message
    pixels = np.ascontiguousarray(img if img.ndim == 3 else np.repeat(img[..., None], 3, axis=2))
    boxes, scores = _cnn().detect(pixels, number_of_times_to_upsample)
    return [_CnnDetection(dlib.rectangle(*box), float(score)) for box, score in zip(boxes.tolist(), scores, strict=True)]


def face_locations(img: np.ndarray, number_of_times_to_upsample: int = 1, model: str = "hog") -> list[Css]:
    """Find the faces of an image.

    Parameters
    ----------
    img : ndarray of uint8, shape (H, W, 3) or (H, W)
        RGB or grey.
    number_of_times_to_upsample : int
        How many times the image is doubled first.
    model : {"hog", "cnn"}

    Returns
    -------
    list of (top, right, bottom, left)
        Clipped to the image.
    """
    found = _raw_face_locations(img, number_of_times_to_upsample, model)
    rects = [face.rect for face in found] if model == "cnn" else found
    return [_trim_css_to_bounds(_rect_to_css(rect), img.shape) for rect in rects]


def _raw_face_locations_batched(
    images: Sequence[np.ndarray], number_of_times_to_upsample: int = 1, batch_size: int = 128
) -> list[list[Any]]:
    return [_raw_face_locations(image, number_of_times_to_upsample, "cnn") for image in images]


def batch_face_locations(
    images: Sequence[np.ndarray], number_of_times_to_upsample: int = 1, batch_size: int = 128
) -> list[list[Css]]:
    """`face_locations` with ``"cnn"`` for each of several images. `batch_size` has no effect, since batches are not faster."""
    return [face_locations(image, number_of_times_to_upsample, "cnn") for image in images]


def _raw_face_landmarks(face_image: np.ndarray, face_locations: Sequence[Css] | None = None, model: str = "large") -> list[Any]:
    if face_locations is None:
        rects = _raw_face_locations(face_image)
    else:
        rects = [_css_to_rect(location) for location in face_locations]
    points, pixels = predictor(5 if model == "small" else 68), np.ascontiguousarray(face_image)
    return [points(pixels, rect) for rect in rects]


def face_landmarks(
    face_image: np.ndarray, face_locations: Sequence[Css] | None = None, model: str = "large"
) -> list[dict[str, list[tuple[int, int]]]]:
    """The landmarks of each face by name: 68 with ``"large"`` (not licensed for commercial use), 5 with ``"small"``."""
    if model not in ("large", "small"):
        raise ValueError("Invalid landmarks model type. Supported models are ['small', 'large'].")
    shapes = _raw_face_landmarks(face_image, face_locations, model)
    faces = [[(part.x, part.y) for part in shape.parts()] for shape in shapes]
    if model == "small":
        return [{"nose_tip": [face[4]], "left_eye": face[2:4], "right_eye": face[0:2]} for face in faces]
    return [{name: [face[i] for i in indices] for name, indices in PARTS_68} for face in faces]


def face_encodings(
    face_image: np.ndarray, known_face_locations: Sequence[Css] | None = None, num_jitters: int = 1, model: str = "small"
) -> list[np.ndarray]:
    """The 128-d encoding of each face, float64, shape (128,); aligned by 5 landmarks, or by 68 with model ``"large"``."""
    shapes = _raw_face_landmarks(face_image, known_face_locations, model)
    if shapes and face_image.ndim != 3:
        raise TypeError(f"expected an RGB image of shape (H, W, 3), got {face_image.shape}")
    found = _resnet().describe_jittered(face_chips(np.ascontiguousarray(face_image), shapes), num_jitters)
    return list(found.astype(np.float64))


def face_distance(face_encodings: Sequence[np.ndarray] | np.ndarray, face_to_compare: np.ndarray) -> np.ndarray:
    """Euclidean distance of each of `face_encodings` from `face_to_compare`; shape (n,)."""
    if len(face_encodings) == 0:
        return np.empty(0)
    apart: np.ndarray = np.linalg.norm(face_encodings - face_to_compare, axis=1)
    return apart


def compare_faces(
    known_face_encodings: Sequence[np.ndarray] | np.ndarray, face_encoding_to_check: np.ndarray, tolerance: float = 0.6
) -> list[np.bool_]:
    """Whether the distance of each known encoding from the one to check is at most `tolerance`."""
    return list(face_distance(known_face_encodings, face_encoding_to_check) <= tolerance)
