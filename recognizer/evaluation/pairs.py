"""Pairs of photos to compare: LFW's pairs files, and CSV files of paths."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognizer.core.errors import InvalidParameter
from recognizer.evaluation.text import bad_line, read_text, require_files, require_folder

_EXTENSIONS = (".jpg", ".jpeg", ".png")
_TRUTH = {"1": True, "true": True, "0": False, "false": False}
#: Fewest genuine and fewest impostor pairs on which a threshold can be chosen and tested.
LEAST = 2
FOLDS = 10


@dataclass(frozen=True)
class Pairs:
    """Pairs of photos.

    Attributes
    ----------
    photos : tuple of path
        The distinct photos.
    first, second : ndarray of int, shape (n,)
        Indices into `photos`.
    same : ndarray of bool, shape (n,)
        Whether both show one person.
    people : ndarray of int, shape (n, 2)
        Numbers of the people on the two photos. In a CSV file, photos show one person if pairs say so.
    folds : ndarray of int, shape (n,)
        Number of each pair's part of the cross-validation, from 0.
    """

    photos: tuple[Path, ...]
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    people: np.ndarray
    folds: np.ndarray

    def __len__(self) -> int:
        return len(self.same)


def read_pairs(file: Path, folder: Path) -> Pairs:
    """Read a pairs file, LFW's or CSV; the format is detected by content.

    Parameters
    ----------
    file : path
        LFW's: a line ``10<tab>300`` (10 folds of 300 genuine pairs, then 300 impostor pairs) or ``1100`` (one such set), then
        ``name i j`` or ``name i name j``, separated by tabs or spaces. CSV: ``a,b,same`` with paths relative to `folder` and 1,
        0, true or false; a heading is skipped.
    folder : path
        LFW's photos are ``folder/NAME/NAME_0001.jpg`` (or .jpeg, .png, in upper or lower case).

    Raises
    ------
    InvalidParameter
        Photos are missing, a line is invalid, numbers of pairs are inconsistent, or there are fewer than `LEAST` pairs of a
        kind.
    """
    text, folder = read_text(file), require_folder(folder)
    first_line = next(line for line in text.splitlines() if line.strip())
    is_csv = "," in first_line and "\t" not in first_line
    return _read_csv(file, text, folder) if is_csv else _read_lfw(file, text, folder)


# -- LFW ------------------------------------------------------------------------------------------------------------


def _read_lfw(file: Path, text: str, folder: Path) -> Pairs:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    header = re.fullmatch(r"(?:(\d+)\s+)?(\d+)", lines[0][1].strip())
    lines = lines[1:] if header else lines
    named = [_lfw_line(file, number, line) for number, line in lines]
    same = np.array([a[0] == b[0] for a, b in named], bool)
    folds = None
    if header:
        count, each = int(header[1] or 1), int(header[2])
        if len(named) != 2 * count * each:
            raise InvalidParameter(f"{file}: its first line announces {2 * count * each} pairs, but it has {len(named)}")
        if count > 1:
            folds = np.repeat(np.arange(count), 2 * each)
    numbers = {name: i for i, name in enumerate(dict.fromkeys(name for pair in named for name, _ in pair))}
    people = np.array([[numbers[name] for name, _ in pair] for pair in named]).reshape(-1, 2)
    return _assemble(file, folder, [_lfw_pair(pair) for pair in named], same, people, folds, _LfwIndex(folder))


def _lfw_line(file: Path, number: int, line: str) -> tuple[tuple[str, int], tuple[str, int]]:
    parts = [part.strip() for part in (line.strip().split("\t") if "\t" in line else line.split())]
    try:
        if len(parts) == 3:
            return (parts[0], int(parts[1])), (parts[0], int(parts[2]))
        if len(parts) == 4:
            return (parts[0], int(parts[1])), (parts[2], int(parts[3]))
    except ValueError:
        pass
    raise bad_line(file, number, "`name i j` or `name i name j`", line)


def _lfw_pair(pair: tuple[tuple[str, int], tuple[str, int]]) -> tuple[str, str]:
    (name, number), (other, other_number) = pair
    return f"{name}/{name}_{number:04d}", f"{other}/{other}_{other_number:04d}"


class _LfwIndex:
    """Finds the file of ``NAME/NAME_0001`` with any extension; lists each person's folder once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._listed: dict[str, dict[str, Path]] = {}

    def __call__(self, photo: str) -> Path | None:
        person, _, stem = photo.partition("/")
        if person not in self._listed:
            self._listed[person] = dict(_photos_by_stem(self._folder / person))
        return self._listed[person].get(stem)


def _photos_by_stem(folder: Path) -> Iterator[tuple[str, Path]]:
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in _EXTENSIONS:
                yield path.stem, path


# -- CSV ------------------------------------------------------------------------------------------------------------


def _read_csv(file: Path, text: str, folder: Path) -> Pairs:
    named, same = [], []
    reader = csv.reader(text.splitlines())
    for row in reader:
        parts = [part.strip() for part in row]
        if not any(parts):
            continue
        if len(parts) == 3 and parts[2].lower() in _TRUTH and all(parts):
            named.append((parts[0], parts[1]))
            same.append(_TRUTH[parts[2].lower()])
        elif named or len(parts) != 3 or parts[2].lower() != "same":
            raise bad_line(file, reader.line_num, "`a,b,same` with 1, 0, true or false", ",".join(row))

    def find(photo: str) -> Path | None:
        path = folder / photo
        return path if path.is_file() else None

    return _assemble(file, folder, named, np.array(same, bool), _people_of(named, same), None, find)


def _people_of(named: list[tuple[str, str]], same: list[bool]) -> np.ndarray:
    """Numbers of people: photos that pairs declare to show one person have the same number (union-find)."""
    parent: dict[str, str] = {}

    def root(photo: str) -> str:
        parent.setdefault(photo, photo)
        while parent[photo] != photo:
            parent[photo] = photo = parent[parent[photo]]
        return photo

    for (a, b), one in zip(named, same, strict=True):
        if one:
            parent[root(a)] = root(b)
    numbers: dict[str, int] = {}
    return np.array([[numbers.setdefault(root(p), len(numbers)) for p in pair] for pair in named]).reshape(-1, 2)


# -- both -----------------------------------------------------------------------------------------------------------


def _assemble(
    file: Path,
    folder: Path,
    named: Sequence[tuple[str, str]],
    same: np.ndarray,
    people: np.ndarray,
    folds: np.ndarray | None,
    find: Callable[[str], Path | None],
) -> Pairs:
    if same.sum() < LEAST or (~same).sum() < LEAST:
        raise InvalidParameter(
            f"{file}: expected at least {LEAST} pairs of one person and {LEAST} of two, "
            f"got {int(same.sum())} and {int((~same).sum())}"
        )
    index = {name: i for i, name in enumerate(dict.fromkeys(name for pair in named for name in pair))}
    found = {name: path for name in index if (path := find(name)) is not None}
    require_files([name for name in index if name not in found], len(index), folder)
    rows = np.array([[index[name] for name in pair] for pair in named])
    folds = consecutive_folds(same) if folds is None else folds
    return Pairs(tuple(found.values()), rows[:, 0], rows[:, 1], same, people, folds)


def consecutive_folds(same: np.ndarray, count: int = FOLDS) -> np.ndarray:
    """The fold of each pair: consecutive parts of the genuine pairs, and of the impostor pairs, of equal size.

    The parts are consecutive because pairs files are sorted by person, and a person should be in one fold only. If there are
    fewer than `count` pairs of a kind, there are that many folds.
    """
    count = max(2, min(count, int(same.sum()), int((~same).sum())))
    folds = np.zeros(len(same), int)
    for kind in (same, ~same):
        folds[kind] = np.arange(kind.sum()) * count // max(1, kind.sum())
    return folds
