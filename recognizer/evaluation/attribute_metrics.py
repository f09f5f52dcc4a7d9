"""How true attributes of faces are on labelled photos: by age, gender and group, with 95 % intervals.

The labels are a CSV file with the columns ``photo`` and any of ``age`` (a number), ``gender`` (female, male), ``expression``
and ``group`` (any word: rates are also told for each group). Empty cells are unknown.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.attributes.estimators import SHOWN, calibrations
from recognizer.attributes.reader import UNFIT, AttributeReader, answered, unanswered
from recognizer.core.answers import AgeAnswer, ExpressionAnswer, FaceAttributes, GenderAnswer
from recognizer.core.errors import ImageError, InvalidParameter
from recognizer.engines import Engine, central, largest
from recognizer.evaluation.intervals import wilson
from recognizer.evaluation.text import bad_line, read_text, require_files, require_folder
from recognizer.photos import images
from recognizer.photos.quality import remarks

#: First ages of the bands, in years.
BANDS = (0, 3, 13, 18, 30, 45, 60, 75)
#: Other words for expressions, as data sets use them; every other word is ``other``.
_WORDS = {"surprise": "surprised", "happiness": "happy", "smile": "happy", "smiling": "happy"}
_COLUMNS = ("photo", "age", "gender", "expression", "group")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """A photo of the labels; None for what is not known of it."""

    path: Path
    photo: str
    age: float | None
    gender: str | None
    expression: str | None
    group: str | None


@dataclass(frozen=True, slots=True)
class ReadFace:
    """What was found in a photo: its attributes and the raw evidence, or the problem."""

    said: FaceAttributes | None = None
    evidence: Mapping[str, np.ndarray] | None = None
    problem: str | None = None
    message: str = ""


def read_attribute_labels(file: Path, folder: Path) -> list[LabelledFace]:
    """The labels of a CSV file, whose photos lie in `folder`.

    Raises
    ------
    InvalidParameter
        The file has no such columns, a cell is not valid, or photos are missing.
    """
    folder = require_folder(folder)
    rows = csv.DictReader(io.StringIO(read_text(file), newline=""))
    names = [name.strip().lower() for name in rows.fieldnames or ()]
    if "photo" not in names or not set(names) & {"age", "gender", "expression"}:
        raise InvalidParameter(
            f"{file}: expected a first line with the columns photo and any of age, gender, expression, group"
        )
    rows.fieldnames = names
    found = []
    for row in rows:
        cells = {name: (row.get(name) or "").strip() for name in _COLUMNS}
        try:
            age = float(cells["age"]) if cells["age"] else None
        except ValueError:
            raise bad_line(file, rows.line_num, "an age in years", cells["age"]) from None
        if not cells["photo"] or (age is not None and not 0 <= age <= 130):
            raise bad_line(file, rows.line_num, "a photo, and an age of 0 to 130", ",".join(cells.values()))
        gender = cells["gender"].lower()
        if gender not in ("", "female", "male"):
            raise bad_line(file, rows.line_num, "female or male", cells["gender"])
        expression = cells["expression"].lower()
        expression = _WORDS.get(expression, expression)
        shown = None if not expression else expression if expression in SHOWN else "other"
        found.append(LabelledFace(folder / cells["photo"], cells["photo"], age, gender or None, shown, cells["group"] or None))
    if not found:
        raise InvalidParameter(f"{file}: expected lines below the first, got none")
    require_files([each.photo for each in found if not each.path.is_file()], len(found), folder)
    return found


def read_faces(
    labels: Sequence[LabelledFace],
    engine: Engine,
    reader: AttributeReader,
    limits: tuple[int, int],
    subject: str = "central",
    progress: Progress = lambda *_: None,
) -> list[ReadFace]:
    """What is said of one face of each photo; `limits` are the largest numbers of bytes and pixels."""
    found = []
    for number, label in enumerate(labels, 1):
        try:
            data = images.read_file(label.path, max_bytes=limits[0])
            image = images.decode(data, max_bytes=limits[0], max_pixels=limits[1], long_side=engine.decode_size)
            found.append(_read_face(image, engine, reader, subject))
        except (ImageError, OSError) as error:
            message = error.message if isinstance(error, ImageError) else "the file cannot be read"
            found.append(ReadFace(problem=getattr(error, "code", "unreadable"), message=message))
        progress(number, len(labels))
    return found


def _read_face(image: images.Image, engine: Engine, reader: AttributeReader, subject: str) -> ReadFace:
    faces, image = engine.find_with_image(image)
    if not len(faces):
        return ReadFace(problem="no_face", message="no face was found in this photo")
    chosen = central(faces, image.width, image.height) if subject == "central" else largest(faces)
    face = faces.select([chosen])
    codes = [code for code in remarks(engine.qualities(image, face)[0]) if code in UNFIT]
    if codes:
        return ReadFace(unanswered(reader.attributes, codes))
    near, scaled = engine.aligned(image, face)
    [evidence] = reader.evidence(near.pixels, scaled)
    return ReadFace(answered(evidence, reader.attributes), evidence)


def measure_attributes(labels: Sequence[LabelledFace], found: Sequence[ReadFace]) -> dict[str, Any]:
    """Rates of each attribute that is labelled: over all faces, by age, by gender and by group."""
    pairs = [(label, read) for label, read in zip(labels, found, strict=True) if read.said is not None]
    report: dict[str, Any] = {"photos": len(labels), "faces": len(pairs)}
    measures = {"age": _age_rates, "gender": _gender_rates, "expression": _expression_rates}
    for name, measure in measures.items():
        known = [pair for pair in pairs if getattr(pair[0], name) is not None]
        if not known:
            continue
        part: dict[str, Any] = {"all": measure(known)}
        splits: dict[str, Callable[[LabelledFace], str | None]] = {
            "by_age": lambda label: None if label.age is None else band(label.age),
            "by_gender": lambda label: label.gender,
            "by_group": lambda label: label.group,
            "by_expression": (lambda label: label.expression) if name == "expression" else (lambda label: None),
        }
        for split, key_of in splits.items():
            parted: dict[str, list[tuple[LabelledFace, ReadFace]]] = {}
            for pair in sorted(known, key=lambda pair: (pair[0].age or 0.0) if split == "by_age" else 0.0):
                key = key_of(pair[0])
                if key is not None:
                    parted.setdefault(key, []).append(pair)
            if parted:
                part[split] = {key: measure(some) for key, some in parted.items()}
        report[name] = part
    return report


def band(age: float) -> str:
    """The band of an age: ``18-29``, or ``75+``."""
    index = max(place for place, first in enumerate(BANDS) if age >= first)
    return f"{BANDS[index]}-{BANDS[index + 1] - 1}" if index + 1 < len(BANDS) else f"{BANDS[index]}+"


def _age_rates(pairs: Iterable[tuple[LabelledFace, ReadFace]]) -> dict[str, Any]:
    pairs = list(pairs)
    table = calibrations()["age"]
    said = [(label.age, read.said.age, read.evidence) for label, read in pairs if read.said and read.said.age]
    within, errors, widths = [], [], []
    for truth, answer, evidence in said:
        assert truth is not None and isinstance(answer, AgeAnswer) and evidence is not None
        within.append(answer.low <= truth <= answer.high)
        errors.append(float(np.interp(evidence["age"][0], table["raw"], table["middle"])) - truth)
        widths.append(answer.high - answer.low)
    return {
        "faces": len(pairs),
        "answered": len(said),
        **_rate("within", within),
        "mean_error": float(np.mean(np.abs(errors))) if errors else None,
        "bias": float(np.mean(errors)) if errors else None,
        "width": float(np.mean(widths)) if widths else None,
    }


def _gender_rates(pairs: Iterable[tuple[LabelledFace, ReadFace]]) -> dict[str, Any]:
    pairs = list(pairs)
    said = [(label.gender, read.said.gender) for label, read in pairs if read.said and read.said.gender]
    always = [
        (read.evidence["gender"][0] > 0) == (label.gender == "female") for label, read in pairs if read.evidence is not None
    ]
    right = [answer.value == truth for truth, answer in said if isinstance(answer, GenderAnswer)]
    told = [answer.probability for _, answer in said if isinstance(answer, GenderAnswer)]
    return {
        "faces": len(pairs),
        "answered": len(said),
        **_rate("right", right),
        "mean_probability": float(np.mean(told)) if told else None,
        "right_if_always_said": float(np.mean(always)) if always else None,
    }


def _expression_rates(pairs: Iterable[tuple[LabelledFace, ReadFace]]) -> dict[str, Any]:
    pairs = list(pairs)
    said = [(label.expression, read.said.expression) for label, read in pairs if read.said and read.said.expression]
    right = [answer.value == truth for truth, answer in said if isinstance(answer, ExpressionAnswer)]
    told = [answer.probability for _, answer in said if isinstance(answer, ExpressionAnswer)]
    return {
        "faces": len(pairs),
        "answered": len(said),
        **_rate("right", right),
        "mean_probability": float(np.mean(told)) if told else None,
    }


def _rate(name: str, outcomes: Sequence[bool]) -> dict[str, Any]:
    """A rate and its interval; each face is taken for an independent trial."""
    if not outcomes:
        return {name: None, f"{name}_interval": (0.0, 1.0)}
    rate = float(np.mean(outcomes))
    return {name: rate, f"{name}_interval": wilson(rate, len(outcomes))}
