"""Ranking, compared with brute force, and the decision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recognizer.core.types import Candidate, Match
from recognizer.galleries import matching, thresholds

BLOCKS = (1, 2, 3, 7, matching.BLOCK)


def ranked(probe, vectors, alive, owners, k) -> list[tuple[int, float]]:
    """Each living owner with its nearest distance, nearest first: the long way."""
    best: dict[int, float] = {}
    for row, owner in enumerate(owners):
        if alive[row]:
            distance = float(np.sqrt(((vectors[row].astype(float) - probe) ** 2).sum()))
            best[owner] = min(best.get(owner, np.inf), distance)
    return sorted(best.items(), key=lambda item: item[1])[:k]


def nearest(probes, vectors, alive, owners, k):
    squares = np.where(alive, np.einsum("ij,ij->i", vectors, vectors), np.inf).astype(np.float32)
    stored = np.where(np.asarray(alive)[:, None], vectors, 0).astype(np.float32)
    return list(matching.nearest_rows(probes, stored, squares, np.asarray(owners, np.int32), k))


@st.composite
def galleries(draw):
    """Small whole numbers, so that float32 is exact and ties abound."""
    count, owners = draw(st.integers(0, 25)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([1, 3, 50]))
    return (
        rng.integers(-spread, spread + 1, (draw(st.integers(0, 3)), 4)).astype(np.float32),
        rng.integers(-spread, spread + 1, (count, 4)).astype(np.float32),
        rng.random(count) < draw(st.sampled_from([1.0, 0.7, 0.1])),
        rng.integers(0, owners, count),
        draw(st.integers(1, 10)),
    )


@pytest.mark.slow
@settings(max_examples=200)
@given(galleries(), st.sampled_from(BLOCKS))
def test_ranking_is_the_brute_force_one_whatever_the_block(case, block):
    probes, vectors, alive, owners, k = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "BLOCK", block)
        found = nearest(probes, vectors, alive, owners, k)
    assert len(found) == len(probes)
    for probe, rows in zip(probes, found, strict=True):
        expected = ranked(probe, vectors, alive, owners, k)
        assert [distance for _, distance in rows] == pytest.approx([distance for _, distance in expected])
        assert len({owners[row] for row, _ in rows}) == len(rows)  # each owner once
        truth = dict(ranked(probe, vectors, alive, owners, None))
        for row, distance in rows:
            assert alive[row]
            assert distance == pytest.approx(float(np.linalg.norm(vectors[row] - probe)))
            assert distance == pytest.approx(truth[owners[row]])  # its own nearest, not just any row


@pytest.mark.parametrize("block", BLOCKS)
def test_near_ties_of_real_sized_vectors_keep_their_exact_order(monkeypatch, block):
    """Distances that differ in their last digits only, far from the origin, where the product in float32 is coarse."""
    monkeypatch.setattr(matching, "BLOCK", block)
    rng = np.random.default_rng(11)
    probe = rng.normal(0, 1, 128).astype(np.float32)
    vectors = probe + rng.normal(0, 1, (40, 128)).astype(np.float32)
    vectors[7] = probe
    owners = np.arange(40) % 20
    expected = ranked(probe, vectors, np.ones(40, bool), owners, 5)
    found = nearest(probe[None], vectors, np.ones(40, bool), owners, 5)[0]
    assert [owners[row] for row, _ in found] == [owner for owner, _ in expected]
    assert found[0] == (7, 0.0)  # exactly 0: not the square root of a rounding error


@pytest.mark.parametrize("block", BLOCKS)
def test_of_equal_rows_the_first_is_named(monkeypatch, block):
    monkeypatch.setattr(matching, "BLOCK", block)
    vectors = np.ones((5, 4), np.float32)
    found = nearest(np.zeros((1, 4), np.float32), vectors, np.ones(5, bool), [3, 3, 1, 1, 2], 3)[0]
    assert [row for row, _ in found] == [0, 2, 4]


def test_an_owner_with_many_near_templates_does_not_hide_the_others(monkeypatch):
    monkeypatch.setattr(matching, "BLOCK", 8)
    vectors = np.concatenate([np.full((100, 2), 0.001), [[1, 0], [2, 0], [3, 0]]]).astype(np.float32)
    owners = [0] * 100 + [1, 2, 3]
    found = nearest(np.zeros((1, 2), np.float32), vectors, np.ones(103, bool), owners, 4)[0]
    assert [owners[row] for row, _ in found] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("templates", "expected"), [(np.zeros((0, 2)), []), ([[3, 4]], [5]), ([[0, 0], [0, -2], [1, 0]], [0, 2, 1])]
)
def test_distances(templates, expected):
    assert matching.distances(np.zeros(2), np.array(templates, float)).tolist() == expected


# --- the decision ----------------------------------------------------------------------------------------------------

NEAR, FAR = Candidate("near", 0.4, "p1"), Candidate("far", 0.7, "p2")


@pytest.mark.parametrize(
    ("candidates", "threshold", "keep", "expected"),
    [
        ([], 0.6, None, Match(None, None, 0.6)),
        ([], 0.6, 0, Match(None, None, 0.6)),
        ([NEAR, FAR], 0.6, None, Match("near", 0.4, 0.6, None, (NEAR, FAR))),
        ([NEAR, FAR], 0.4, None, Match("near", 0.4, 0.4, None, (NEAR, FAR))),
        ([NEAR, FAR], 0.39, None, Match(None, 0.4, 0.39, None, (NEAR, FAR))),
        ([NEAR, FAR], 0.6, 0, Match("near", 0.4, 0.6, None, ())),
        ([NEAR, FAR], 0.6, 1, Match("near", 0.4, 0.6, None, (NEAR,))),
        ([NEAR], 0.0, 5, Match(None, 0.4, 0.0, None, (NEAR,))),
    ],
)
def test_decide(candidates, threshold, keep, expected):
    assert matching.decide(candidates, threshold, keep=keep) == expected


def test_decide_asks_the_curve_about_the_nearest_named_or_not():
    curve = thresholds.Curve([0.3, 0.6], [1e-4, 1e-2])
    assert matching.decide([], 0.6, curve).false_match_rate is None
    for threshold in (0.1, 0.6):
        assert matching.decide([NEAR, FAR], threshold, curve).false_match_rate == curve.reported_rate(0.4) == curve.rate(0.4)
    steep = thresholds.Curve([0.3, 0.6], [1e-6, 1e-2])
    assert matching.decide([Candidate("Ada", 0.0, "1")], 0.6, steep).false_match_rate == thresholds.LEAST_RATE == 1e-8


@pytest.mark.parametrize(
    ("candidates", "margin", "keep", "ambiguous", "kept"),
    [
        ([], 0.1, 0, False, 0),
        ([NEAR], 0.1, 0, False, 0),
        ([NEAR, Candidate("also near", 0.45)], 0.1, 0, True, 2),
        ([NEAR, Candidate("also near", 0.45)], 0.1, 5, True, 2),
        ([NEAR, Candidate("also near", 0.45)], 0.04, 0, False, 0),
        ([NEAR, FAR], 0.1, 1, False, 1),
        ([Candidate("a stranger's nearest", 0.7), Candidate("the next", 0.71)], 0.1, 0, False, 0),
    ],
)
def test_a_name_is_ambiguous_when_the_next_is_nearly_as_close(candidates, margin, keep, ambiguous, kept):
    match = matching.decide(candidates, 0.6, keep=keep, margin=margin)
    assert (match.ambiguous, len(match.candidates)) == (ambiguous, kept)


@pytest.mark.parametrize("owners", ["one owner has most rows", "every row has an owner", "two owners"])
def test_the_nearest_owners_are_found_however_rows_are_shared_out(owners):
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((700, 8)).astype(np.float32)
    vectors[:300] *= 0.1  # near the probe, which is at the origin
    owner = {"one owner has most rows": np.where(np.arange(700) < 290, 0, np.arange(700)), "two owners": np.arange(700) % 2}
    owner_of = owner.get(owners, np.arange(700)).astype(np.int32)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    squares[7] = np.inf  # removed
    [found] = matching.nearest_rows(np.zeros((1, 8), np.float32), vectors, squares, owner_of, 3)
    apart = np.where(np.isinf(squares), np.inf, np.linalg.norm(vectors, axis=1))
    best = sorted((apart[owner_of == each].min(), int(each)) for each in np.unique(owner_of))[:3]
    assert [int(owner_of[row]) for row, _ in found] == [each for _, each in best]
    assert [distance for _, distance in found] == pytest.approx([distance for distance, _ in best], abs=1e-6)
