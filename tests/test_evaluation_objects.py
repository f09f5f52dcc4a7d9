"""Measuring the detector of objects: counted by hand, COCO's figures, YOLO's files, and real runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from recognizer.core.errors import InvalidParameter
from recognizer.core.settings import PREFIX
from recognizer.evaluation import object_metrics
from recognizer.evaluation.object_metrics import DetectedObjects, mean_average_precision, measure
from recognizer.evaluation.yolo import LabelledPhoto, read_classes, read_labelled_photos
from recognizer.photos import images
from recognizer.photos.objects import GRAPH, THRESHOLD, WEIGHTS, ObjectDetector
from recognizer.weights import manifest

from . import data
from .commands import run_command


def scene(*things) -> LabelledPhoto:
    """A photo of 100 x 200 pixels with things of (label, box in pixels)."""
    boxes = np.array([box for _, box in things], float).reshape(-1, 4) / (100, 200, 100, 200)
    return LabelledPhoto(Path("x.jpg"), boxes, np.array([label for label, _ in things], dtype=object))


def sight(*found) -> DetectedObjects:
    """What was found in it: (label, box, score)."""
    found = sorted(found, key=lambda one: -one[2])
    return DetectedObjects(
        np.array([box for _, box, _ in found], float).reshape(-1, 4),
        np.array([score for *_, score in found], float),
        np.array([label for label, *_ in found], dtype=object),
        (100, 200),
        5.0,
        4.0,
    )


A, B, C = (0, 0, 40, 40), (50, 0, 90, 40), (0, 100, 40, 140)


def test_nothing_there_and_nothing_found():
    report = measure([scene()], [sight()], 0.5)
    assert (report["objects"], report["found"], report["recall"], report["precision"]) == (0, 0, None, None)
    assert report["by_label"] == {} and report["map_50"] is None


def test_counted_by_hand():
    scenes = [scene(("dog", A), ("dog", B), ("cat", C)), scene(("dog", A))]
    sights = [
        # a dog found, one twice, one with another label, one below the threshold; and a bird where nothing is
        sight(("dog", A, 0.9), ("dog", A, 0.8), ("dog", C, 0.7), ("dog", B, 0.4), ("bird", B, 0.6)),
        sight(("dog", (0, 0, 40, 21), 0.95)),  # IoU 0.525
    ]
    report = measure(scenes, sights, 0.5)
    assert (report["objects"], report["found"]) == (4, 5)
    assert report["recall"] == pytest.approx(2 / 4) and report["precision"] == pytest.approx(2 / 5)
    dog, cat, bird = (report["by_label"][label] for label in ("dog", "cat", "bird"))
    assert (dog["objects"], dog["found"], dog["recall"], dog["precision"]) == (3, 4, pytest.approx(2 / 3), 0.5)
    # precision at its three hits: 1, 1, 3/5
    assert dog["average_precision"] == pytest.approx((1 + 1 + 3 / 5) / 3)
    assert (cat["objects"], cat["found"], cat["recall"], cat["precision"]) == (1, 0, 0.0, None)
    assert (bird["objects"], bird["found"], bird["recall"], bird["precision"]) == (0, 1, None, 0.0)
    curve = {step: (precision, recall) for step, precision, recall in report["curve"]}
    assert curve[0.05] == (pytest.approx(3 / 6), pytest.approx(3 / 4))
    assert curve[0.95] == (1.0, pytest.approx(1 / 4))
    assert report["ms"] == 5.0 and report["cpu_ms"] == 4.0
    low, high = report["recall_interval"]
    assert low < 0.5 < high
    stricter = measure(scenes, sights, 0.5, iou=0.6)
    assert stricter["recall"] == pytest.approx(1 / 4)
    json.dumps(report)


def test_labels_that_are_not_looked_for_do_not_count():
    report = measure([scene(("unicorn", A), ("dog", B))], [sight(("dog", B, 0.9))], 0.5)
    assert report["labels_not_known"] == ["unicorn"] and (report["objects"], report["recall"]) == (1, 1.0)


def test_a_photo_that_could_not_be_read_counts():
    report = measure(
        [scene(("dog", A)), scene(("dog", A))], [sight(("dog", A, 0.9)), object_metrics.nothing_detected("x")], 0.5
    )
    assert report["recall"] == 0.5 and report["precision"] == 1.0 and report["ms"] == 5.0


def test_cocos_own_figures():
    perfect = mean_average_precision([scene(("dog", A), ("cat", B))], [sight(("dog", A, 0.9), ("cat", B, 0.8))], ["cat", "dog"])
    assert perfect == {"map_50": pytest.approx(1), "map_50_95": pytest.approx(1)}
    shifted = [sight(("dog", (0, 0, 40, 30.5), 0.9), ("cat", B, 0.8))]  # IoU 0.76: right for 6 of the 10 limits
    assert mean_average_precision([scene(("dog", A), ("cat", B))], shifted, ["cat", "dog"]) == {
        "map_50": pytest.approx(1),
        "map_50_95": pytest.approx((1 + 0.6) / 2),
    }
    assert mean_average_precision([scene(("dog", A))], [sight()], ["dog"]) == {"map_50": 0.0, "map_50_95": 0.0}


# -- files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path, photos) -> Path:
    """The astronaut, who is a person, and a photo without a label file."""
    (tmp_path / "photos" / "more").mkdir(parents=True)
    (tmp_path / "labels" / "more").mkdir(parents=True)
    shutil.copy(photos["astronaut.png"], tmp_path / "photos" / "more")
    grey = images.encode_jpeg(np.full((120, 160, 3), 127, np.uint8))
    (tmp_path / "photos" / "empty.jpg").write_bytes(grey)
    (tmp_path / "labels" / "more" / "astronaut.txt").write_text("1 0.4590 0.5 0.8398 1.0\n\n")
    (tmp_path / "classes.yaml").write_text("# my own\nnames:\n  0: dog\n  1: person\n")
    return tmp_path


def test_reading_label_files(tiny):
    empty, astronaut = read_labelled_photos(tiny / "labels", tiny / "photos")
    assert (empty.path.name, len(empty.boxes), astronaut.path.name) == ("empty.jpg", 0, "astronaut.png")
    assert astronaut.labels.tolist() == ["person"]
    assert astronaut.boxes[0] == pytest.approx([0.0391, 0, 0.8789, 1])


@pytest.mark.parametrize(
    "text",
    [
        "names:\n  0: dog\n  1: hot dog\n",
        "path: .\ntrain: images\n\nnames:  # classes\n  0: dog  # the animal\n\n  1: 'hot dog'\nnc: 2\n",
        "nc: 2\nnames:\n- dog\n- hot dog\n",
        'names: [dog, "hot dog"]\n',
        "names: ['dog',\n  'hot dog']\nother: 1\n",
    ],
)
def test_reading_the_names_of_classes(tmp_path, text):
    (tmp_path / "classes.yaml").write_text(text)
    assert read_classes(tmp_path / "classes.yaml") == ["dog", "hot dog"]


def test_reading_the_names_of_classes_from_a_text(tmp_path):
    (tmp_path / "classes.txt").write_text("dog\nhot dog\n\n")
    assert read_classes(tmp_path / "classes.txt") == ["dog", "hot dog"]


@pytest.mark.parametrize("text", ["", "nc: 2\n", "names:\n", "names:\n  0: a\n  2: b\n", "names:\n  nested:\n    0: a\n"])
def test_names_of_classes_that_cannot_be_used(tmp_path, text):
    (tmp_path / "classes.yaml").write_text(text)
    with pytest.raises(InvalidParameter, match="classes.yaml"):
        read_classes(tmp_path / "classes.yaml")


@pytest.mark.parametrize(
    "line", ["1 0.5 0.5 0.5", "1 0.5 0.5 0.5 x", "2 0.5 0.5 1 1", "-1 0.5 0.5 1 1", "person 0.5 0.5 1 1", "1 0 0 1 1 1"]
)
def test_lines_that_cannot_be_used(tiny, line):
    (tiny / "labels" / "empty.txt").write_text(f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(InvalidParameter, match=r"empty\.txt, line 2: expected `class x y width height`"):
        read_labelled_photos(tiny / "labels", tiny / "photos")


def test_folders_that_cannot_be_used(tiny, tmp_path_factory):
    bare = tmp_path_factory.mktemp("bare")
    for labels, photos, says in (
        (tiny / "nowhere", tiny / "photos", "no such folder"),
        (tiny / "labels", tiny / "nowhere", "no such folder"),
        (tiny / "labels", bare, "expected photos"),
        (bare, tiny / "photos", "names of the classes"),
    ):
        with pytest.raises(InvalidParameter, match=says):
            read_labelled_photos(labels, photos)
    (tiny / "labels" / "stray.txt").write_text("")
    with pytest.raises(InvalidParameter, match="no photo for it"):
        read_labelled_photos(tiny / "labels", tiny / "photos")
    (tiny / "labels" / "stray.txt").unlink()
    (tiny / "labels" / "more" / "astronaut.txt").write_text("")
    with pytest.raises(InvalidParameter, match="at least one object"):
        read_labelled_photos(tiny / "labels", tiny / "photos")


# -- real runs --------------------------------------------------------------------------------------------------------------


def evaluate(folder: Path, models_dir: Path, *args, code: int = 0) -> Result:
    environ = {f"{PREFIX}MODELS_DIR": str(models_dir), f"{PREFIX}STATE_DIR": str(folder / "state")}
    done = run_command(environ, "evaluate", *args)
    assert done.exit_code == code, done.output
    return done


def test_from_the_command_line(tiny, models_dir):
    out = tiny / "out.json"
    args = ("--objects", tiny / "labels", "--images", tiny / "photos")
    done = evaluate(tiny, models_dir, *args, "--json", out, "--plot", tiny / "curves.png")
    report = json.loads(out.read_text())
    assert {"engine", "date", "versions", "objects"} <= set(report)
    part = report["objects"]
    assert (part["photos"], part["objects"], part["recall"], part["threshold"]) == (2, 1, 1.0, 0.55)
    assert part["by_label"]["person"]["recall"] == 1.0 and part["map_50"] == pytest.approx(1.0) and part["ms"] > 0
    assert str(tiny) not in out.read_text()
    assert "recall (1 objects)" in done.stdout and "100.00 %" in done.stdout and "person" in done.stdout
    assert (tiny / "curves.png").read_bytes()[:4] == b"\x89PNG"
    strict = json.loads(evaluate(tiny, models_dir, *args, "--threshold", "0.99", "--json").stdout)["objects"]
    assert (strict["threshold"], strict["found"], strict["recall"], strict["precision"]) == (0.99, 0, 0.0, None)


def test_called_wrongly(tiny, models_dir):
    args = ("--objects", tiny / "labels", "--images", tiny / "photos")
    for more, code in ((("--boxes", tiny / "x"), 2), (("--split", tiny), 2), (("--threshold", "3"), 1)):
        evaluate(tiny, models_dir, *args, *more, code=code)
    evaluate(tiny, models_dir, *args[:2], code=2)


def test_the_accuracy_that_is_promised(models_dir):
    """Wide enough for any build of OpenCV; docs/accuracy.md has the figures."""
    folder = data.folder("coco-dev")
    detector = ObjectDetector(manifest.path(WEIGHTS, models_dir), manifest.path(GRAPH, models_dir))
    scenes = read_labelled_photos(folder / "labels", folder / "images")
    sights = object_metrics.detect_objects([scene.path for scene in scenes], detector, 25_000_000, 50_000_000)
    report = measure(scenes, sights, THRESHOLD)
    assert (report["photos"], report["objects"]) == (128, 929)
    assert report["precision"] > 0.7 and report["recall"] > 0.28
    assert report["map_50"] > 0.48 and report["map_50_95"] > 0.3
