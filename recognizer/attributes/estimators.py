"""Estimators: raw outputs of networks -> evidence about a face -> an answer whose range or probability is true.

Evidence is additive: the mean of the evidence of several pictures of one face is the evidence of all of them together, which is
how live video decides over a track. The figures of calibrations.json were measured on the data sets that are named in it;
docs/attributes.md has them by age, gender and group, and ``recognizer evaluate --attributes`` measures them on other photos.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recognizer.attributes.networks import EXPRESSIONS
from recognizer.core.answers import AgeAnswer, Answer, ExpressionAnswer, GenderAnswer

#: The least and largest probability of one network: each is wrong more often than its surest outputs say.
_CLIPPED = 0.003
#: The least probability of one expression from one network.
_LEAST_SHARE = 1e-4
#: Expressions that are worth showing; the others are taken for one another too often and are counted together as ``other``.
SHOWN = ("happy", "neutral", "surprised")


@cache
def calibrations() -> dict[str, dict[str, Any]]:
    """What was measured, by attribute, with the data set and the date."""
    found: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("calibrations.json").read_text("utf-8"))
    return found


class Estimator(Protocol):
    """Says one attribute of a face. Pure, and thread-safe.

    Attributes
    ----------
    attribute : str
        One of `core.answers.ATTRIBUTES`.
    networks : tuple of str
        Keys of the networks whose outputs it needs.
    """

    attribute: str
    networks: tuple[str, ...]

    def evidence(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The evidence of each face, float64 (n, k), from the outputs of `networks` by key, each (n, ...)."""

    def answer(self, evidence: np.ndarray) -> Answer | str:
        """What the evidence of one face, (k,), says; or the code of the reason why it says nothing."""


class AgeEstimator:
    """The range that holds the age of 80 % of faces; evidence is the network's age in years."""

    attribute = "age"
    networks: tuple[str, ...] = ("age-gender",)

    def evidence(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return outputs["age-gender"][:, :1]

    def answer(self, evidence: np.ndarray) -> Answer | str:
        table = calibrations()["age"]
        low, high = (float(np.interp(evidence[0], table["raw"], table[name])) for name in ("low", "high"))
        return AgeAnswer(math.floor(low), math.ceil(high), table["coverage"])


class GenderEstimator:
    """The mean of the log-odds of two networks, which is calibrated as it stands; the raw age is evidence as well, because
    nothing is said of children."""

    attribute = "gender"
    networks: tuple[str, ...] = ("age-gender", "gender-dlib")

    def evidence(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        female = [outputs["age-gender"][:, 2], outputs["gender-dlib"][:, 0]]
        odds = np.mean([_log_odds(each) for each in female], axis=0)
        return np.stack([odds, outputs["age-gender"][:, 0]], axis=1)

    def answer(self, evidence: np.ndarray) -> Answer | str:
        table, ages = calibrations()["gender"], calibrations()["age"]
        if np.interp(evidence[1], ages["raw"], ages["middle"]) < table["least_age"]:
            return "under_13"
        probability = 1 / (1 + math.exp(-abs(float(evidence[0]))))
        if probability < table["least_probability"]:
            return "uncertain"
        return GenderAnswer("female" if evidence[0] > 0 else "male", probability)


class ExpressionEstimator:
    """The weighted mean of the log-probabilities of two networks, made less sure by a calibrated factor."""

    attribute = "expression"
    networks: tuple[str, ...] = ("expression", "expression-fer")

    def evidence(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        logs = [np.log(np.clip(outputs[key], _LEAST_SHARE, 1)) for key in self.networks]
        joined: np.ndarray = calibrations()["expression"]["weight"] * logs[0] + logs[1]
        return joined

    def answer(self, evidence: np.ndarray) -> Answer | str:
        table = calibrations()["expression"]
        scaled = table["sharpness"] * (evidence - evidence.max())
        shares = np.exp(scaled) / np.exp(scaled).sum()
        found = {name: float(shares[EXPRESSIONS.index(name)]) for name in SHOWN}
        found["other"] = max(0.0, 1 - sum(found.values()))
        value = max(found, key=lambda name: found[name])
        if found[value] < table["least_probability"]:
            return "uncertain"
        return ExpressionAnswer(value, found[value], found)


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    clipped = np.clip(probabilities, _CLIPPED, 1 - _CLIPPED)
    odds: np.ndarray = np.log(clipped / (1 - clipped))
    return odds


ESTIMATORS: dict[str, Estimator] = {each.attribute: each for each in (AgeEstimator(), GenderEstimator(), ExpressionEstimator())}
