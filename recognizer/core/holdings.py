"""What an installation stores about people, behind one interface.

Whatever keeps a photo, a name, a template or a picture of somebody is a `Holding`. Renaming, erasure, export and the check
after an erasure walk the `Holdings`, so that a new keeper of data is added in one place and left out of none of them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np

from recognizer.core.disk import disk_reason
from recognizer.core.errors import DamageRepaired, RecognizerError

log = logging.getLogger("recognizer.holdings")

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Whose:
    """The subject whose data is meant, as it was before anything was changed.

    Attributes
    ----------
    name : str
        As `names.normalise` writes it.
    photos : tuple of str
        Ids of the enrolled photos.
    templates : (n, d) float32 array
        Of those photos; empty where nothing is known of them any more.
    again : bool
        An earlier erasure is being finished: only `photos` are meant, since others may be enrolled under the name by now.
    """

    name: str
    photos: tuple[str, ...] = ()
    templates: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    again: bool = False


@dataclass(frozen=True)
class ExportedFile:
    """A file of what is exported about a subject.

    Attributes
    ----------
    path : str
        In the ZIP file.
    data : bytes
    kind : str
        What it holds, in the plural.
    items : int
        How many of them.
    """

    path: str
    data: bytes
    kind: str
    items: int = 1


class Holding(Protocol):
    """One keeper of personal data. Every method may be called from any thread, and again after it failed."""

    #: What it keeps, in a word or two; unique.
    label: str

    def find(self, whose: Whose) -> int:
        """How many things are stored about a subject."""

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        """Everything that is stored about a subject."""

    def rename(self, old: str, new: str) -> None:
        """Store under the name `new` what was stored under `old`."""

    def erase(self, whose: Whose) -> None:
        """Erase everything that `find` counts. What cannot be read is erased if it may be about the subject."""

    def verify(self, whose: Whose) -> dict[str, int]:
        """What is left after an erasure, counted by place; read from where it is stored, not from memory."""


@dataclass(frozen=True)
class Erasure:
    """The outcome of an erasure.

    Attributes
    ----------
    left : dict
        What is still stored, counted by place. All zero after a complete erasure.
    failed : dict
        Label of a holding -> the error that it ended with.
    """

    left: dict[str, int]
    failed: dict[str, str]

    @property
    def complete(self) -> bool:
        return not self.failed and not any(self.left.values())


class Holdings:
    """All holdings of an installation, in the order in which they are walked.

    Parameters
    ----------
    holdings : sequence of Holding
        The photos come first: while they exist, everything else can be made again.
    """

    def __init__(self, holdings: Sequence[Holding]):
        labels = [each.label for each in holdings]
        if len(set(labels)) < len(labels):
            raise ValueError(f"expected unique labels, got {labels}")
        self._holdings = tuple(holdings)

    def __iter__(self) -> Iterator[Holding]:
        return iter(self._holdings)

    def anything(self, whose: Whose) -> bool:
        """Whether anything is stored about a subject. A holding that cannot be read may hold something."""
        return any(_may_hold(each, whose) for each in self._holdings)

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        """Everything about a subject, one file after the other."""
        for each in self._holdings:
            yield from each.export(whose)

    def rename(self, old: str, new: str) -> dict[str, str]:
        """Store everything under another name. Returns label -> error of the holdings that failed."""
        failed: dict[str, str] = {}
        for each in self._holdings:
            with _noted(failed, each.label):
                _twice(each.rename, old, new)
        return failed

    def erase(self, whose: Whose) -> Erasure:
        """Erase a subject everywhere, then check what is left. A holding that fails does not keep the others from it."""
        failed: dict[str, str] = {}
        left: Counter[str] = Counter()
        for each in self._holdings:
            with _noted(failed, each.label):
                _twice(each.erase, whose)
        for each in self._holdings:
            with _noted(failed, each.label):
                for place, count in _twice(each.verify, whose).items():
                    left[place] += count
        return Erasure(dict(left), failed)


def _twice(work: Callable[..., Result], *args: Any) -> Result:
    """Do `work`, and again if it found a damaged file, which is repaired by then."""
    try:
        return work(*args)
    except DamageRepaired as error:
        log.warning("%s", error.message)
        return work(*args)


def _may_hold(holding: Holding, whose: Whose) -> bool:
    try:
        return _twice(holding.find, whose) > 0
    except RecognizerError:
        return True


@contextmanager
def _noted(failed: dict[str, str], label: str) -> Iterator[None]:
    """Note the error that the block ends with."""
    try:
        yield
    except RecognizerError as error:
        failed.setdefault(label, error.message)
    except Exception as error:  # one keeper's fault must not keep the others from their work
        log.exception("%s failed", label)
        failed.setdefault(label, disk_reason(error) if isinstance(error, OSError) else type(error).__name__)
