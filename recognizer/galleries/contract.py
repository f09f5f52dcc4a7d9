"""The interface of galleries. A gallery stores the templates of one engine and searches probes among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from recognizer.core.types import Candidate, Template


@runtime_checkable
class Gallery(Protocol):
    """Templates of one engine. Thread-safe; each call is atomic.

    A template is identified by its subject and photo: adding it again replaces it.

    Attributes
    ----------
    engine : str
        Id of the engine.
    dim : int
        Length of its embeddings.
    """

    engine: str
    dim: int

    @property
    def generation(self) -> int:
        """A number that increases with every change, after searches see the change: an earlier search may have missed it."""

    def add(self, templates: Sequence[Template]) -> None:
        """Add or replace templates.

        Raises
        ------
        EngineMismatch
            A template was made by another engine. None is added then.
        """

    def remove(self, subject: str, photo: str | None = None) -> int:
        """Remove the template of one photo of `subject`, or all its templates; return how many were removed."""

    def rename(self, old: str, new: str) -> int:
        """Move the templates of `old` to `new`, in addition to those that `new` has; return how many were moved."""

    def search(self, probes: np.ndarray, k: int = 1) -> list[list[Candidate]]:
        """Return the `k` nearest subjects of each probe, nearest first.

        Parameters
        ----------
        probes : ndarray of float32, shape (m, dim)
        k : int
            Fewer are returned where fewer are enrolled.
        """

    def cohort(self, probes: np.ndarray) -> np.ndarray:
        """Return the distance of each probe from the gallery's cohort: the subjects that `cohort.members` gives.

        Of each, the template of the photo whose id comes first is compared, so that all copies of a gallery give the same.

        Parameters
        ----------
        probes : ndarray of float32, shape (m, dim)

        Returns
        -------
        ndarray of float32, shape (m, c)
            In no particular order.
        """

    def templates(self, subject: str) -> list[Template]:
        """The templates of one subject."""

    def templates_of(self, subjects: Iterable[str]) -> dict[str, list[Template]]:
        """The templates of several subjects, by name, read at once; a subject who has none has an empty list."""

    def subjects(self) -> dict[str, int]:
        """Each subject -> the number of its templates."""

    def __len__(self) -> int:
        """Number of templates."""
