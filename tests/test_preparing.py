"""What a server does once it is ready, so that the first photo does not have to wait for it."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from recognizer.engines import make_engine
from recognizer.engines.comparability import judge
from recognizer.http.site import Site
from recognizer.photos import images

_FIRST_PHOTO = """
import sys
from pathlib import Path
from recognizer.core.settings import Settings
from recognizer.engines import make_engine
from recognizer.engines.dlib import native
from recognizer.photos import images
engine = make_engine(**Settings.from_environment().engine_recipe)
assert not {"cv2", "simplejpeg"} & sys.modules.keys()
engine.prepare()
before, loaded = set(sys.modules), native._predictor.cache_info().misses
image = images.decode(Path(sys.argv[1]).read_bytes(), long_side=engine.decode_size)
faces = engine.find(image)
engine.judged(image, faces, engine.described_all([(image, faces)])[0])
print(len(faces), loaded, native._predictor.cache_info().misses, sorted(set(sys.modules) - before))
"""


def test_the_first_photo_loads_nothing_more(photos, models_dir):
    command = [sys.executable, "-c", _FIRST_PHOTO, str(photos["obama.jpg"])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1 1 1 []"


@pytest.mark.parametrize("detector, embedder", [("yunet", "sface"), ("hog", "dlib"), ("yunet", "dlib")])
def test_preparing_changes_no_result(photos, models_dir, detector, embedder):
    engine = make_engine(detector, embedder, models_dir=models_dir)
    image = images.decode(photos["obama.jpg"].read_bytes(), long_side=engine.decode_size)
    faces = engine.find(image)
    before = engine.describe(image, faces)
    engine.prepare()
    again = engine.find(image)
    assert np.array_equal(faces.boxes, again.boxes) and np.array_equal(engine.describe(image, again), before)


def test_a_judge_reads_the_weights_of_its_own_network():
    one, other = judge("yunet5", "dlib+sface"), judge("dlib5", "dlib")
    assert one._first.dtype == np.float32 and one._first.shape[0] > other._first.shape[0]
    assert one._first.shape[1] == one._biases.shape[0] == one._second.shape[0]


def site(engine) -> Site:
    made = Site.__new__(Site)
    made._service = None

    def load() -> None:
        made._service = None if engine is None else SimpleNamespace(engine=engine)

    made.load_or_end = load
    return made


def test_a_server_is_ready_before_it_prepares():
    seen = []
    made = site(SimpleNamespace(prepare=lambda: seen.append(made.loaded)))
    made.load_and_prepare()
    assert seen == [True]
    site(None).load_and_prepare()  # it ended meanwhile


def test_preparing_that_fails_is_a_line_in_the_log(caplog):
    def fail() -> None:
        raise RuntimeError("no memory")

    site(SimpleNamespace(prepare=fail)).load_and_prepare()
    assert [record.message for record in caplog.records] == ["preparing for the first photo failed"]
