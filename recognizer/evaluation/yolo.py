"""Ground truth of object detection: YOLO's label files, and the list of labels that they refer to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognizer.core.errors import InvalidParameter
from recognizer.evaluation.text import bad_line, read_text, require_folder
from recognizer.photos.sources import expand

#: Names of files with the list of labels, in the folder of the label files or beside it.
CLASSES = ("classes.yaml", "data.yaml", "dataset.yaml", "classes.txt", "obj.names")


@dataclass(frozen=True)
class LabelledPhoto:
    """The objects of one photo.

    Attributes
    ----------
    path : path
    boxes : ndarray of float, shape (n, 4)
        left, top, right, bottom as shares of the photo's width and height.
    labels : ndarray of str, shape (n,)
    """

    path: Path
    boxes: np.ndarray
    labels: np.ndarray


def read_labelled_photos(folder: Path, photos: Path) -> list[LabelledPhoto]:
    """Read the label files of all photos of a folder.

    Parameters
    ----------
    folder : path
        One text file per photo, at the photo's path below `photos` with the suffix ``.txt``. It has a line ``class x y width
        height`` for each object: the number of the class, and the centre and size of its box as shares of the photo's size. A
        photo without a file has no objects. The names of the classes are in one of `CLASSES`, in this folder or its parent.
    photos : path

    Raises
    ------
    InvalidParameter
        A file is invalid, a file belongs to no photo, or there is no object at all.
    """
    folder, photos = require_folder(folder), require_folder(photos)
    names = read_classes(_classes_file(folder))
    paths = [Path(path) for path in expand([str(photos)]) if Path(path).is_file()]
    if not paths:
        raise InvalidParameter(f"{photos}: expected photos, found none")
    files = {path: (folder / path.relative_to(photos)).with_suffix(".txt") for path in paths}
    left = sorted(set(folder.rglob("*.txt")) - set(files.values()) - {folder / name for name in CLASSES})
    if left:
        raise InvalidParameter(f"{left[0].relative_to(folder)}: there is no photo for it in {photos} ({len(left)} such files)")
    scenes = [_scene(path, file, names) for path, file in files.items()]
    if not any(len(scene.boxes) for scene in scenes):
        raise InvalidParameter(f"{folder}: expected at least one object, got none")
    return scenes


def _classes_file(folder: Path) -> Path:
    for place in (folder, folder.absolute().parent):
        for name in CLASSES:
            if (place / name).is_file():
                return place / name
    raise InvalidParameter(f"{folder}: expected the names of the classes in {', '.join(CLASSES)}, there or one folder above")


def read_classes(file: Path) -> list[str]:
    """The names of the classes by number: the ``names`` of a YOLO data set's YAML, or a text file with one name per line.

    Raises
    ------
    InvalidParameter
    """
    text = read_text(file)
    if file.suffix != ".yaml":
        return [line.strip() for line in text.splitlines() if line.strip()]
    found = re.search(r"^names:[ \t]*(.*)$((?:\n(?:[ \t-].*|[ \t]*))*)", text, re.MULTILINE)
    if found is None:
        raise InvalidParameter(f"{file}: expected `names:`, the names of the classes")
    names: dict[int, str] = {}
    if found[1].startswith("["):
        parts = (found[1] + found[2]).split("]")[0].strip("[").split(",")
        names = dict(enumerate(_unquoted(part) for part in parts if part.strip()))
    else:
        for line in filter(None, (line.split(" #")[0].strip() for line in found[2].splitlines())):
            entry = re.fullmatch(r"(?:-|(\d+):)\s*(.+)", line)
            if entry is None:
                raise InvalidParameter(f"{file}: expected `number: name` or `- name` below `names:`, got {line!r}")
            names[len(names) if entry[1] is None else int(entry[1])] = _unquoted(entry[2])
    if not names or sorted(names) != list(range(len(names))):
        raise InvalidParameter(f"{file}: expected names numbered from 0 on without a gap")
    return [names[number] for number in range(len(names))]


def _unquoted(text: str) -> str:
    return text.strip().strip("\"'")


def _scene(path: Path, file: Path, names: Sequence[str]) -> LabelledPhoto:
    rows, labels = [], []
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            kind, *edges = line.split()
            x, y, width, height = map(float, edges)
            labels.append(names[_index(kind, len(names))])
        except ValueError:
            expected = f"`class x y width height`, class from 0 to {len(names) - 1}"
            raise bad_line(file, number, expected, line) from None
        rows.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    boxes = np.clip(np.array(rows, float).reshape(-1, 4), 0, 1)
    whole = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return LabelledPhoto(path, boxes[whole], np.array(labels, dtype=object)[whole])


def _index(text: str, count: int) -> int:
    number = int(text)
    if not 0 <= number < count:
        raise ValueError(text)
    return number
