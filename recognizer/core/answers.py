"""What estimators say about a face, as values: a range or a probability, or nothing and the reason.

They say what a face looks like to people who labelled photos. They say nothing about who somebody is, or what somebody feels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Every attribute that can be asked for.
ATTRIBUTES = ("age", "gender", "expression")


@dataclass(frozen=True, slots=True)
class AgeAnswer:
    """The range of ages of a face, in whole years, inclusive; `coverage` is the share of faces whose age is in their range."""

    low: int
    high: int
    coverage: float

    def to_dict(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "coverage": self.coverage}

    @property
    def label(self) -> str:
        """For people: ``25–41``."""
        return f"{self.low}–{self.high}"


@dataclass(frozen=True, slots=True)
class GenderAnswer:
    """``"female"`` or ``"male"``, as a face looks, and the probability that people would say the same."""

    value: str
    probability: float

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "probability": round(self.probability, 3)}

    @property
    def label(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class ExpressionAnswer:
    """The most probable expression of a face, and the probabilities of ``happy``, ``neutral``, ``surprised`` and ``other``."""

    value: str
    probability: float
    all: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        shares = {name: round(share, 3) for name, share in self.all.items()}
        return {"value": self.value, "probability": round(self.probability, 3), "all": shares}

    @property
    def label(self) -> str:
        """For people; nothing for ``other``, which is not an expression."""
        return "" if self.value == "other" else self.value


Answer: TypeAlias = "AgeAnswer | GenderAnswer | ExpressionAnswer"


@dataclass(frozen=True, slots=True)
class FaceAttributes:
    """What was asked about one face.

    Attributes
    ----------
    answers : mapping of str to Answer or None
        By attribute, of those that were asked for; None where nothing is said.
    reasons : mapping of str to tuple of str
        Why nothing is said, for each attribute with None: codes of `photos.quality.REMARKS`, ``not_comparable``, ``under_13``,
        ``uncertain``, or on video ``undecided``: too few good pictures were seen yet.
    """

    answers: Mapping[str, Answer | None]
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def age(self) -> AgeAnswer | None:
        found = self.answers.get("age")
        return found if isinstance(found, AgeAnswer) else None

    @property
    def gender(self) -> GenderAnswer | None:
        found = self.answers.get("gender")
        return found if isinstance(found, GenderAnswer) else None

    @property
    def expression(self) -> ExpressionAnswer | None:
        found = self.answers.get("expression")
        return found if isinstance(found, ExpressionAnswer) else None

    @property
    def labels(self) -> tuple[str, ...]:
        """What is said, for people."""
        return tuple(each.label for each in self.answers.values() if each is not None and each.label)

    def to_dict(self) -> dict[str, Any]:
        """As the HTTP API shows it: one entry for each attribute that was asked for, and `reasons`."""
        shown: dict[str, Any] = {name: None if each is None else each.to_dict() for name, each in self.answers.items()}
        return shown | {"reasons": {name: list(codes) for name, codes in self.reasons.items()}}

    def said(self) -> dict[str, Any] | None:
        """What is said, as plain data, without what is not; None if nothing is said."""
        return {name: each.to_dict() for name, each in self.answers.items() if each is not None} or None

    def only(self, names: frozenset[str]) -> FaceAttributes:
        """The answers of these attributes alone."""
        return FaceAttributes(
            {name: each for name, each in self.answers.items() if name in names},
            {name: codes for name, codes in self.reasons.items() if name in names},
        )
