"""dlib's ResNet in 8 bits: close to the full one, created once, stored whole, and a clear error where it cannot be created."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

from recognizer.core.errors import ModelError, StorageError
from recognizer.engines import make_engine
from recognizer.engines.dlib import int8
from recognizer.engines.dlib.onnx import CHIP, ResNet, drawn_face

# needed to create the network; not needed to run it
onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "new"
    ResNet(provider="cpu-int8", folder=folder)
    return folder


@pytest.fixture(scope="module")
def chips() -> np.ndarray:
    return int8.drawn_faces(drawn_face(CHIP), 12)[::-1]


@pytest.mark.slow
def test_it_is_near_the_full_network_and_not_the_same(stored, chips):
    full, small = ResNet().describe(chips), ResNet(provider="cpu-int8", folder=stored).describe(chips)
    far = np.linalg.norm(full - small, axis=1)
    assert 1e-3 < np.median(far) and far.max() < 0.15
    assert small.dtype == np.float32 and small.shape == (12, 128)


def test_each_chip_gives_the_same_alone_or_among_others(stored, chips):
    network = ResNet(provider="cpu-int8", folder=stored)
    together = network.describe(chips)
    alone = np.concatenate([network.describe(chip[None]) for chip in chips])
    assert np.abs(together - alone).max() < 1e-6


def test_it_is_created_once_and_stored_whole(stored, monkeypatch):
    [file] = stored.glob("*.int8-*.onnx")
    assert file.name.startswith("dlib_resnet.int8-") and file.stat().st_size < 8_000_000
    monkeypatch.setattr(int8, "quantise", lambda *_: pytest.fail("it was created again"))
    ResNet(provider="cpu-int8", folder=stored)


def test_it_needs_no_tool_once_it_is_stored(stored, chips, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert ResNet(provider="cpu-int8", folder=stored).describe(chips[:1]).shape == (1, 128)


def test_without_the_tool_it_cannot_be_created(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match="needs the onnx package .* requirements-int8.txt"):
        ResNet(provider="cpu-int8", folder=tmp_path)
    assert not any(tmp_path.glob("*.int8-*"))


@pytest.mark.slow
def test_a_damaged_file_is_created_again(stored, chips, tmp_path, caplog):
    [file] = stored.glob("*.int8-*.onnx")
    whole = file.read_bytes()
    (tmp_path / file.name).write_bytes(whole[:5000])
    with caplog.at_level(logging.WARNING):
        network = ResNet(provider="cpu-int8", folder=tmp_path)
    assert "created again" in caplog.text
    assert np.array_equal(network.describe(chips), ResNet(provider="cpu-int8", folder=stored).describe(chips))
    assert [path.name for path in tmp_path.glob("*.onnx")] == [file.name]


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    file = tmp_path / "a file"
    file.write_text("")
    monkeypatch.setattr(int8, "quantise", lambda *_: b"model")
    with pytest.raises(StorageError, match="cannot be stored"):
        int8.quantised(b"graph", "network", drawn_face(CHIP), file / "folder")
    with pytest.raises(ValueError, match="folder in which to store"):
        ResNet(provider="cpu-int8")


def test_the_drawn_faces_are_the_same_each_time_and_differ():
    face = drawn_face(50)
    faces = int8.drawn_faces(face, 5)
    assert np.array_equal(faces, int8.drawn_faces(face, 5)) and faces.shape == (5, 50, 50, 3)
    assert all((one != other).mean() > 0.5 for one, other in zip(faces, faces[1:], strict=False))


def test_an_engine_with_it_has_an_id_of_its_own_and_finds_the_same_faces(stored, models_dir, photos, monkeypatch):
    from recognizer.engines.dlib import onnx as dlib_onnx
    from recognizer.photos import images

    # the shared folder of models is read only here
    monkeypatch.setattr(dlib_onnx, "resnet_int8", lambda threads, _, made=dlib_onnx.resnet_int8: made(threads, stored))
    engine, full = (make_engine("yunet", "dlib", models_dir=models_dir, provider=name) for name in ("cpu-int8", "cpu"))
    assert engine.info.id == full.info.id + "@cpu-int8"
    image = images.decode(photos["obama.jpg"].read_bytes())
    faces = full.find(image)
    assert np.array_equal(engine.find(image).boxes, faces.boxes)
    far = np.linalg.norm(engine.describe(image, faces) - full.describe(image, faces), axis=1)
    assert 0 < far[0] < 0.15
