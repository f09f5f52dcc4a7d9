"""Whose faces an installation stores besides the enrolled ones: where, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recognizer.core.vault import Vault


@dataclass(frozen=True, slots=True)
class FaceStorage:
    """Where and for how long faces of the cameras are stored.

    Attributes
    ----------
    folder : Path
    kept : str
        Whose faces are stored: "off" for nobody's; see the settings `strangers` and `sightings` for the others.
    days : callable
        Returns after how many days they are deleted, as it is set now.
    vault : Vault, optional
        Encrypts them.
    """

    folder: Path
    kept: str
    days: Callable[[], float]
    vault: Vault | None = None

    @property
    def wanted(self) -> bool:
        """Whether any are stored from now on."""
        return self.kept != "off"
