"""How an installation makes and stores its events; `appearances.EventRules` says when something is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recognizer.core.vault import Vault


@dataclass(frozen=True, slots=True)
class EventOptions:
    """What events contain, and how they are stored.

    Attributes
    ----------
    vault : Vault, optional
        Encrypts events.
    enrolled : callable, optional
        Whether a name is enrolled.
    scenes : bool
        Whether events of people who come get a picture of the whole scene.
    unknown_quality : callable
        Returns the least quality of an unknown person's picture at a camera, by its id; None for that of the rules.
    node : str, optional
        The node that these events are of, where nodes share a database.
    """

    vault: Vault | None = None
    enrolled: Callable[[str], bool] | None = None
    scenes: bool = False
    unknown_quality: Callable[[str], float | None] = lambda camera: None
    node: str | None = None
