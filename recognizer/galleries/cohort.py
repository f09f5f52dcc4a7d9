"""The cohort of a gallery: the subjects who stand for all others when it is judged how near everybody is to a probe.

Where a probe is unusually near to many subjects, its nearest distance says less: photos that are damaged alike, or taken alike,
lie together, whoever they show. The limit of a name is then lowered by what these distances are below the usual ones. Speaker
verification knows this as cohort normalisation, or T-norm (Auckenthaler, Carey and Lloyd-Thomas, "Score normalization for
text-independent speaker verification systems", Digital Signal Processing 10, 2000). Pure: NumPy only.
"""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable, Sequence

import numpy as np

#: Most subjects in a cohort.
SIZE = 128
#: The nearest of a cohort, who are not looked at: the probe's own subject, and one that is another name or a relative.
SPARED = 2
#: Fewest subjects in a cohort of which anything is concluded.
LEAST = SPARED + 2
#: How many times the distance that the cohort is nearer than usual the limit is lowered, and by which share of the engine's
#: threshold at most. benchmarks/comparability.py measured both.
STRENGTH, MOST = 1.5, 0.12


def order(subject: str) -> tuple[int, str]:
    """The key by which subjects are sorted: the first ones are the cohort. It is the same everywhere, and says nothing else."""
    return zlib.crc32(subject.encode("utf-8", "surrogatepass")), subject


def members(subjects: Iterable[str]) -> list[str]:
    """The cohort of a gallery of these subjects, at most `SIZE` of them, in their order."""
    return heapq.nsmallest(SIZE, subjects, key=order)


def joins(subject: str, cohort: Sequence[str]) -> bool:
    """Whether another subject of the gallery belongs to its cohort."""
    return len(cohort) < SIZE or order(subject) < order(cohort[-1])


def nearness(apart: np.ndarray) -> np.ndarray:
    """How near a cohort is to each probe: the mean distance of its nearest tenth, without the `SPARED`.

    Parameters
    ----------
    apart : ndarray of float, shape (m, c)
        Distance of each probe from each of the cohort, in any order; `c` is at least `LEAST`.

    Returns
    -------
    ndarray of float, shape (m,)
    """
    tenth = max(LEAST - SPARED, round(apart.shape[1] / 10))
    near: np.ndarray = np.sort(apart, axis=1)[:, SPARED : SPARED + tenth].mean(axis=1)
    return near


def lowerings(apart: np.ndarray, sizes: Sequence[int], usual: Sequence[float], threshold: float) -> np.ndarray:
    """By how much the limit of a name is lowered for each probe; 0 for one that is as far from the cohort as usual.

    Parameters
    ----------
    apart : ndarray of float, shape (m, c)
        See `nearness`.
    sizes, usual : sequence
        Of cohorts of these sizes, rising, most plain probes are further away than that; see `Calibration`. Empty where it was
        not measured: nothing is lowered then.
    threshold : float
        The engine's, for comparing one face with one.

    Returns
    -------
    ndarray of float, shape (m,)
    """
    if apart.shape[1] < LEAST or not len(sizes):
        return np.zeros(len(apart))
    expected = np.interp(np.log(apart.shape[1]), np.log(sizes), usual)
    found: np.ndarray = np.clip(STRENGTH * (expected - nearness(apart)), 0.0, MOST * threshold)
    return found
