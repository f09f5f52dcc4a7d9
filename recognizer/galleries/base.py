"""What every gallery is: the home of the templates of one engine, where probes are searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from ..types import Candidate, Template


@runtime_checkable
class Gallery(Protocol):
    """Templates of one engine. Safe to use from several threads; one call is one step for everybody else.

    A template is known by its subject and photo: adding one again replaces it.
    """

    engine: str
    dim: int

    @property
    def generation(self) -> int:
        """Grows with every change, once searches see it: a search that began before may have missed it."""

    def add(self, templates: Sequence[Template]) -> None:
        """Add or replace templates.

        Raises
        ------
        EngineMismatch
            A template was made by another engine; none is added then.
        """

    def remove(self, subject: str, photo: str | None = None) -> int:
        """Remove one photo's template of `subject`, or all of them; how many there were."""

    def rename(self, old: str, new: str) -> int:
        """Give the templates of `old` to `new`, joining any that `new` has; how many."""

    def search(self, probes: np.ndarray, k: int = 1) -> list[list[Candidate]]:
        """The `k` nearest subjects of each probe, nearest first.

        Parameters
        ----------
        probes : ndarray of float32, shape (m, dim)
        k : int
            Fewer come back where fewer are enrolled.
        """

    def templates(self, subject: str) -> list[Template]:
        """The templates of one subject."""

    def subjects(self) -> dict[str, int]:
        """Every subject with the number of its templates."""

    def __len__(self) -> int:
        """How many templates there are."""
