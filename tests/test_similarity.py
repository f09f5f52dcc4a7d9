"""The similarity that clients of other services are shown: one scale, on which each client's own threshold decides as ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recognizer import engines
from recognizer.galleries.similarity import FARTHEST, NAMED, NOT_NAMED, similarity
from recognizer.galleries.thresholds import Curve

CALIBRATIONS = json.loads(Path(engines.__file__).with_name("calibrations.json").read_text("utf-8"))
#: The thresholds that clients have unless somebody sets others, on a scale from 0 to 1.
CLIENTS = {
    "Double Take: shows a name": 0.40,
    "deepstack-python, HASS-Deepstack-face": 0.45,
    "CompreFace's documentation, Viseron with CompreFace": 0.50,
    "Azure Face: isIdentical": 0.50,
    "Viseron with DeepStack": 0.60,
    "Double Take: match": 0.60,
    "DeepStack's own": 0.67,
    "deepstack-sdk": 0.70,
    "Rekognition: AssociateFaces": 0.75,
    "Rekognition: SearchFaces, CompareFaces": 0.80,
}


@pytest.mark.parametrize("engine", sorted(CALIBRATIONS))
def test_every_clients_threshold_decides_as_ours(engine):
    points = CALIBRATIONS[engine]
    curve = Curve(points["distances"], points["rates"])
    for limit in (points["threshold"], curve.distance(1e-6), curve.distance(0.1), 0.0, 2.0):
        near, far = float(np.nextafter(limit, 0)), float(np.nextafter(limit, 9))
        for client, own in CLIENTS.items():
            assert similarity(limit, limit, curve) >= own and similarity(near, limit, curve) >= own, client
            assert similarity(far, limit, curve) < own, client


@pytest.mark.parametrize("engine", sorted(CALIBRATIONS))
def test_nearer_is_more_similar(engine):
    points = CALIBRATIONS[engine]
    curve = Curve(points["distances"], points["rates"])
    shown = [similarity(distance, points["threshold"], curve) for distance in np.arange(0, FARTHEST, 0.01)]
    assert shown == sorted(shown, reverse=True) and len(set(shown)) == len(shown)
    assert shown[0] == 1.0 and all(0 <= each <= NOT_NAMED or NAMED <= each <= 1 for each in shown)
    assert similarity(FARTHEST + 1, points["threshold"], curve) == 0.0
    assert similarity(3.0, FARTHEST + 1, curve) >= NAMED
