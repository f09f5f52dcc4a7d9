"""Distance -> similarity from 0 to 1, as clients of other services expect it. Pure: `thresholds` only.

Each of those services has its own scale, and their clients have their own thresholds on it. One map serves them all: it rises
as the false-match rate falls, and it leaves a gap at the threshold in force. Whatever threshold in the gap a client has, it
decides as this server does.
"""

from __future__ import annotations

from recognizer.galleries.thresholds import Curve

#: Similarities of faces within the threshold are from here to 1, those of others from 0 to `NOT_NAMED`. The clients' own
#: thresholds lie between: 0.4 (Double Take, to show a name) to 0.8 (Amazon Rekognition's 80 of 100).
NAMED, NOT_NAMED = 0.82, 0.35
#: Distance that no two embeddings exceed.
FARTHEST = 4.0
#: Digits after the point: enough that distances which differ in four digits differ here.
DIGITS = 5


def similarity(distance: float, threshold: float, curve: Curve) -> float:
    """How alike two faces are: 1 for the same picture, at least `NAMED` within the threshold, at most `NOT_NAMED` beyond it.

    Parameters
    ----------
    distance : float
        At least 0.
    threshold : float
        Largest distance at which the two count as the same person.
    curve : Curve
        Of the engine. In each half, the similarity is linear in the logarithm of the false-match rate.
    """
    limit = curve.log_rate(threshold)
    here = curve.log_rate(distance)
    if distance <= threshold:
        return round(NAMED + (1 - NAMED) * _share(here, limit, curve.log_rate(0.0)), DIGITS)
    return round(NOT_NAMED * _share(here, curve.log_rate(max(FARTHEST, threshold)), limit), DIGITS)


def _share(value: float, from_: float, to: float) -> float:
    """Where `value` is on the way between two others, 0 to 1."""
    if from_ == to:
        return 1.0
    return min(1.0, max(0.0, (value - from_) / (to - from_)))
