"""Ground truth of face detection: WIDER FACE's list of boxes, and JSON with the same content."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognizer.core.errors import InvalidParameter
from recognizer.evaluation.text import bad_line, read_text, require_files, require_folder


@dataclass(frozen=True)
class Truth:
    """The faces of one photo.

    Attributes
    ----------
    path : path
    boxes : ndarray of float, shape (n, 4)
        left, top, right, bottom.
    valid : ndarray of bool, shape (n,)
        Faces that are not valid are ignored: neither missing nor detecting them is an error.
    """

    path: Path
    boxes: np.ndarray
    valid: np.ndarray


def read_boxes(file: Path, folder: Path) -> list[Truth]:
    """Read annotations.

    Parameters
    ----------
    file : path
        JSON, ``{"photo.jpg": [{"bbox_xywh": [left, top, width, height], "invalid": 0}, ...], ...}``, or WIDER FACE's
        ``wider_face_val_bbx_gt.txt``: a photo's path, the number of its faces, and a line ``left top width height blur
        expression illumination invalid occlusion pose`` for each (a photo without faces has one line of zeros).
    folder : path
        Folder of the photos.

    Raises
    ------
    InvalidParameter
        Photos are missing, an annotation is invalid, or there is no face at all.
    """
    text, folder = read_text(file), require_folder(folder)
    rows = _read_json(file, text) if text.lstrip().startswith("{") else _read_wider(file, text)
    require_files([name for name in rows if not (folder / name).is_file()], len(rows), folder)
    truths = [_truth(folder / name, faces) for name, faces in rows.items()]
    if not any(truth.valid.any() for truth in truths):
        raise InvalidParameter(f"{file}: expected at least one valid face, got none")
    return truths


def _truth(path: Path, faces: list[tuple[float, ...]]) -> Truth:
    """Boxes without an area are ignored, since they cannot be found."""
    rows = np.array(faces, float).reshape(-1, 5)
    rows = rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]
    return Truth(path, np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), rows[:, 4] == 0)


def _read_json(file: Path, text: str) -> dict[str, list[tuple[float, ...]]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InvalidParameter(f"{file}: not valid JSON ({error})") from None
    rows = {}
    for name, faces in content.items():
        try:
            rows[name] = [(*map(float, _four(face["bbox_xywh"])), float(face.get("invalid", 0))) for face in faces]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InvalidParameter(
                f'{file}: expected a list of {{"bbox_xywh": [left, top, width, height], "invalid": 0}} for {name!r}'
            ) from None
    return rows


def _four(values: Sequence[float]) -> Sequence[float]:
    if len(values) != 4:
        raise ValueError(values)
    return values


def _read_wider(file: Path, text: str) -> dict[str, list[tuple[float, ...]]]:
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    rows: dict[str, list[tuple[float, ...]]] = {}
    at = 0
    while at < len(lines):
        number, name = lines[at]
        if at + 1 == len(lines) or not lines[at + 1][1].isdigit():
            raise bad_line(file, number, "a photo's path with the number of its faces on the next line", name)
        count = int(lines[at + 1][1])
        faces = lines[at + 2 : at + 2 + max(1, count)]
        if count == 0 and faces and not _is_numbers(faces[0][1]):
            faces = []
        if len(faces) < count:
            raise InvalidParameter(f"{file}, line {number}: expected {count} faces of {name!r}, got {len(faces)}")
        rows[name] = [_wider_face(file, *face) for face in faces[:count]]
        at += 2 + len(faces)
    return rows


def _is_numbers(line: str) -> bool:
    try:
        return len([float(part) for part in line.split()]) >= 4
    except ValueError:
        return False


def _wider_face(file: Path, number: int, line: str) -> tuple[float, ...]:
    parts = line.split()
    if len(parts) not in (4, 10) or not _is_numbers(line):
        raise bad_line(file, number, "`left top width height` or WIDER FACE's ten numbers", line)
    values = [float(part) for part in parts]
    return (*values[:4], values[7] if len(values) == 10 else 0.0)
