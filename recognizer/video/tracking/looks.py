"""How the face of a track looks: attributes decided over its good pictures, and calm. Pure.

Age and gender do not change while somebody is in the picture: their evidence is the mean over the track's pictures, each
weighing what it is worth, and a range that moves by less than `CALM_YEARS` is not changed. An expression changes: its evidence
is a running mean in which the last second counts most, and a new one is shown only when it was found twice in a row.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from recognizer.attributes.reader import UNFIT, answered
from recognizer.core.answers import ATTRIBUTES, AgeAnswer, Answer, ExpressionAnswer, FaceAttributes, GenderAnswer
from recognizer.photos.quality import Quality, remarks

#: Pictures of a track before anything is said, and seconds between two of them.
ENOUGH_LOOKS, BUILD_UP_LOOKS = 3, 0.15
#: Seconds between two pictures after that: while an expression is wanted, and else; and after `MANY_LOOKS` pictures.
EXPRESSION_EVERY, LOOK_EVERY, MANY_LOOKS, RARELY = 0.3, 1.0, 12, 5.0
#: Most that all earlier pictures weigh beside a new one, so that a track that became another face's recovers.
MOST_WEIGHT = 20.0
#: Share of the newest picture in the evidence of an expression.
NEWEST_EXPRESSION = 0.4
#: Probability down to which a gender that was said is still said.
HELD_GENDER = 0.85
#: Years by which a range has to move to be changed.
CALM_YEARS = 2


def is_good(quality: Quality | None) -> bool:
    """Whether anything may be said of a face with this picture."""
    return quality is not None and not any(code in UNFIT for code in remarks(quality))


@dataclass(eq=False)
class Looks:
    """What is known of how one track's face looks.

    Attributes
    ----------
    said : dict of str to Answer
        What is shown, by attribute.
    pictures : int
        How many were taken in.
    """

    said: dict[str, Answer] = field(default_factory=dict)
    pictures: int = 0
    _evidence: dict[str, np.ndarray] = field(default_factory=dict)
    _weight: dict[str, float] = field(default_factory=dict)
    _waiting: str | None = None  # an expression that was more probable than the limit once
    _last: dict[str, float] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)

    def due(self, time: float, attributes: Collection[str]) -> tuple[str, ...]:
        """Which of `attributes` should be looked at again at `time`, in seconds."""
        return tuple(name for name in ATTRIBUTES if name in attributes and self._is_due(name, time))

    def _is_due(self, name: str, time: float) -> bool:
        taken = self._taken.get(name, 0)
        if taken < ENOUGH_LOOKS:
            every = BUILD_UP_LOOKS
        elif name == "expression":
            every = EXPRESSION_EVERY
        else:
            every = LOOK_EVERY if taken < MANY_LOOKS else RARELY
        return time - self._last.get(name, float("-inf")) >= every

    def take(self, evidence: Mapping[str, np.ndarray], worth: float, time: float) -> None:
        """Take in the evidence of a picture of `time` that is worth so much."""
        self.pictures += 1
        for name, new in evidence.items():
            self._last[name] = time
            self._taken[name] = self._taken.get(name, 0) + 1
            before, weight = self._evidence.get(name), min(MOST_WEIGHT, self._weight.get(name, 0.0))
            share = NEWEST_EXPRESSION if name == "expression" else worth / (weight + worth)
            self._evidence[name] = new if before is None else (1 - share) * before + share * new
            self._weight[name] = weight + worth
        self._decide([name for name in evidence if self._taken[name] >= ENOUGH_LOOKS])

    def _decide(self, names: Collection[str]) -> None:
        found = answered(self._evidence, names)
        for name, new in found.answers.items():
            old = self.said.get(name)
            if isinstance(new, AgeAnswer) and isinstance(old, AgeAnswer):
                if max(abs(new.low - old.low), abs(new.high - old.high)) < CALM_YEARS:
                    continue
            if name == "expression" and not self._lasts(old, new):
                continue
            if new is None and isinstance(old, GenderAnswer) and self._still_likely(old):
                continue
            if new is None:
                self.said.pop(name, None)
            else:
                self.said[name] = new

    def _still_likely(self, old: GenderAnswer) -> bool:
        """Whether a gender that was said is still more probable than `HELD_GENDER`: it would flicker at the limit."""
        female = 1 / (1 + math.exp(-float(self._evidence["gender"][0])))
        return (female if old.value == "female" else 1 - female) >= HELD_GENDER

    def _lasts(self, old: Answer | None, new: Answer | None) -> bool:
        """Whether an expression is that of the picture before as well."""
        value = new.value if isinstance(new, ExpressionAnswer) else ""
        twice, self._waiting = value == self._waiting, value
        return twice or (isinstance(old, ExpressionAnswer) and old.value == value)

    def attributes(self, wanted: Collection[str], quality: Quality | None) -> FaceAttributes:
        """What is said of `wanted`, with the reason where nothing is; `quality` is that of the newest picture."""
        answers = {name: self.said.get(name) for name in ATTRIBUTES if name in wanted}
        poor = () if quality is None else tuple(code for code in remarks(quality) if code in UNFIT)
        seen = [name for name, each in answers.items() if each is None and self._taken.get(name, 0) >= ENOUGH_LOOKS]
        why = answered(self._evidence, seen).reasons
        reasons = {
            name: why.get(name, ("undecided",)) if name in seen else poor or ("undecided",)
            for name, each in answers.items()
            if each is None
        }
        return FaceAttributes(answers, reasons)
