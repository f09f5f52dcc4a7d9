"""How far providers are from the default one: known distances come out as they are, and real providers stay near."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recognizer.core.errors import ModelError
from recognizer.core.types import Faces
from recognizer.engines import Engine, make_engine, runs_on
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.cache import EncodingsCache
from recognizer.evaluation import drift, run

from .test_evaluation import _copy, _evaluate


class Shifted:
    """A real detector whose boxes and points are moved, whose scores are lower, and which misses the last of two faces."""

    def __init__(self, detector):
        self.name, self.preferred_size, self._detector = detector.name, detector.preferred_size, detector

    def detect(self, pixels):
        found = self._detector.detect(pixels)
        if len(found) > 1:
            found = found.select(np.arange(len(found) - 1))
        moved = found.shifted(2, 0)
        return Faces(moved.boxes, moved.scores - 0.125, moved.landmarks, moved.scheme)


class Longer:
    """A real embedder whose vectors are off by `by` in one direction."""

    holds_lock = False

    def __init__(self, embedder, by: float):
        self.name, self.dim, self._embedder, self._by = embedder.name, embedder.dim, embedder, by

    def embed(self, pixels, faces):
        vectors = self._embedder.embed(pixels, faces)
        vectors[:, 0] += self._by
        return vectors

    def embed_all(self, photos):
        return [self.embed(*photo) for photo in photos]


@pytest.fixture(scope="module")
def paths(photos, tmp_path_factory) -> list[Path]:
    broken = tmp_path_factory.mktemp("drift") / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no photo")
    return [photos[name] for name in ("obama.jpg", "obama2.jpg", "biden.jpg")] + [broken]


def measured(engine, recipe, paths, detector=None, embedder=None, threshold=1.1) -> dict:
    other = Engine(detector or engine.detector, embedder or engine.embedder, engine.info, engine.sizes)
    told = []
    report = drift.measure(
        paths, BulkSettings(other, {**recipe, "provider": "openvino"}), engine, threshold, lambda *step: told.append(step)
    )
    assert told[-1] == (len(paths), len(paths))
    return report


@pytest.mark.slow
def test_the_same_engine_does_not_drift(engine, recipe, paths):
    report = measured(engine, recipe, paths)
    assert (report["provider"], report["photos"], report["photos_unread"]) == ("openvino", 3, 1)
    embedding, found = report["embedding"], report["detection"]
    assert embedding["same_chips"] == embedding["own_boxes"] == {"median": 0, "p99": 0, "max": 0}
    assert (embedding["pairs"], embedding["decisions_changed"], embedding["decisions_changed_mixed"]) == (3, 0, 0)
    assert embedding["matches"] == 1  # Obama and Obama
    assert (found["gained"], found["lost"], found["box_px"]["max"], found["score"]["max"]) == (0, 0, 0, 0)
    assert all(value > 0 for value in report["cpu_ms"].values()) and len(report["cpu_ms"]) == 4


@pytest.mark.slow
def test_vectors_that_are_off_are_off_by_that(engine, recipe, paths):
    report = measured(engine, recipe, paths, embedder=Longer(engine.embedder, 0.25))["embedding"]
    assert report["same_chips"] == pytest.approx({"median": 0.25, "p99": 0.25, "max": 0.25}, abs=1e-6)
    assert report["decisions_changed"] == 0  # all moved alike
    assert measured(engine, recipe, paths, embedder=Longer(engine.embedder, 3))["embedding"]["decisions_changed_mixed"] == 1


def test_decisions_at_the_threshold_are_counted():
    ours = np.array([[0.0, 0], [1, 0], [0, 5]])
    theirs = np.array([[0.0, 0], [1.2, 0], [0, 5]])
    assert drift.compare_decisions(ours, theirs, 1.1) == {
        "pairs": 3,
        "matches": 1,
        "decisions_changed": 1,
        "decisions_changed_mixed": 1,
    }


def test_boxes_that_are_off_are_off_by_that(engine, recipe, photos, paths):
    both = measured(engine, recipe, paths[:3], detector=Shifted(engine.detector))
    found = both["detection"]
    factor = found["box_px"]["max"] / 2  # from the copy that was looked at to the photo
    assert factor >= 1 and found["score"]["median"] == pytest.approx(0.125, abs=1e-6)
    assert found["landmark_px"]["max"] == pytest.approx(found["box_px"]["max"], rel=1e-3)
    assert both["embedding"]["same_chips"]["max"] == 0 < both["embedding"]["own_boxes"]["max"]


def test_faces_that_are_gained_and_lost_are_counted():
    here, there = np.array([[0.0, 0, 10, 10]]), np.array([[100.0, 100, 110, 110]])

    def faces(*boxes):
        boxes = np.concatenate(boxes) if boxes else np.zeros((0, 4))
        return Faces(boxes, np.ones(len(boxes)), np.zeros((len(boxes), 5, 2), np.float32))

    for ours, theirs, expected in (
        ((), (), (0, 0, 0)),
        ((here,), (), (1, 0, 1)),
        ((), (here, there), (0, 2, 0)),
        ((here,), (there,), (1, 1, 1)),
        ((here, there), (there, here), (2, 0, 0)),
        ((here, here), (here,), (2, 0, 1)),
    ):
        found = drift.DriftFindings()
        drift.compare_boxes(faces(*ours), faces(*theirs), found)
        assert (found.faces, found.gained, found.lost) == expected


def test_a_sample_is_bounded_and_keeps_neighbours():
    paths = [Path(str(i)) for i in range(2000)]
    assert drift.sample([]) == [] and drift.sample(paths[:3] * 2) == paths[:3]
    taken = drift.sample(paths, 100)
    numbers = [int(str(path)) for path in taken]
    assert 90 <= len(taken) <= 100 and numbers == sorted(set(numbers))
    assert numbers[0] == 0 and numbers[-1] == 1999
    assert sum(b - a == 1 for a, b in zip(numbers[::2], numbers[1::2], strict=True)) >= 45


def test_figures_of_providers_are_kept_apart(recipe, engine):
    sources = [BulkSettings(engine, {**recipe, "provider": name}) for name in ("cpu", "openvino", "openvino-bf16")]
    assert len({source.key for source in sources}) == 3
    assert sources[0].key == BulkSettings(engine, recipe).key


def test_ids_tell_what_cannot_be_compared():
    assert runs_on("hog", "dlib", "openvino-bf16") == "cpu"  # dlib itself
    assert runs_on("yunet", "dlib", "openvino-bf16") == "openvino-bf16"


@pytest.mark.parametrize("provider", ["openvino", "openvino-bf16"])
def test_openvino_stays_near(recipe, engine, paths, provider):
    pytest.importorskip("openvino")
    named = {**recipe, "provider": provider}
    other = make_engine(**named)
    assert (other.info.id == engine.info.id) is (provider == "openvino")
    source = replace(BulkSettings(engine, named), engine=other)
    report = run.measure_drift(run.Bench(source, EncodingsCache(":memory:")), folders=[], boxes=None)
    assert report["photos"] == 0 and report["embedding"]["same_chips"] is None
    report = drift.measure(paths, source, engine, 1.1)
    assert report["embedding"]["same_chips"]["max"] < (1e-4 if provider == "openvino" else 0.1)
    assert (report["detection"]["gained"], report["detection"]["lost"]) == (0, 0)


def test_a_provider_that_is_not_installed_is_refused_at_once(monkeypatch):
    from recognizer.engines import require_provider

    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ModelError, match="needs the openvino package: pip install openvino"):
        require_provider("openvino-bf16")
    with pytest.raises(ModelError, match="expected a provider of"):
        require_provider("abacus")
    require_provider("cpu")


def test_the_command_line_refuses_what_is_not_there(tmp_path, models_dir):
    done = _evaluate(tmp_path, models_dir, "--split", tmp_path, "--provider", "directml", code=1)
    assert "it needs onnxruntime-directml" in done.stderr
    assert "directml" in _evaluate(tmp_path, models_dir, "--split", tmp_path, "--provider", "x", code=2).stderr


@pytest.mark.slow
def test_drift_from_the_command_line(tmp_path, photos, models_dir):
    pytest.importorskip("onnx")
    root, out = tmp_path / "people", tmp_path / "out.json"
    for name in ("obama", "obama2", "obama3", "biden"):
        _copy(photos[f"{name}.jpg"], root / name.rstrip("23") / f"{name}.jpg")
    _copy(photos["astronaut.png"], root / "collins" / "1.png")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "obama/obama.jpg,obama/obama2.jpg,1\nobama/obama2.jpg,obama/obama3.jpg,1\n"
        "obama/obama.jpg,biden/biden.jpg,0\nbiden/biden.jpg,collins/1.png,0\n"
    )
    arguments = ("--engine", "dlib", "--pairs", pairs, "--images", root, "--json", out)
    done = _evaluate(tmp_path, models_dir, *arguments, "--provider", "cpu-int8")
    part = json.loads(out.read_text())["drift"]
    assert (part["provider"], part["reference"], part["photos"]) == ("cpu-int8", "cpu", 5)
    assert 0 < part["embedding"]["same_chips"]["median"] <= part["embedding"]["same_chips"]["max"] < 0.15
    assert part["embedding"]["pairs"] == 10 and "cpu-int8 against cpu" in done.stdout
    assert json.loads(out.read_text())["engine"].endswith("@cpu-int8")
    _evaluate(tmp_path, models_dir, *arguments)
    assert "drift" not in json.loads(out.read_text())
