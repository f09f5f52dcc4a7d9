"""dlib's ResNet in 8 bits: near the full one, made once, kept whole, and refused clearly where it cannot be made."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

from recognizer.engines import int8, make_engine
from recognizer.engines.dlib_onnx import CHIP, ResNet, drawn_face
from recognizer.errors import ModelError, StorageError

# what it is made with; the network itself needs nothing
onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "new"
    ResNet(provider="cpu-int8", kept=folder)
    return folder


@pytest.fixture(scope="module")
def chips() -> np.ndarray:
    return int8.drawn_faces(drawn_face(CHIP), 12)[::-1]


def test_it_is_near_the_full_network_and_not_the_same(kept, chips):
    full, small = ResNet().describe(chips), ResNet(provider="cpu-int8", kept=kept).describe(chips)
    far = np.linalg.norm(full - small, axis=1)
    assert 1e-3 < np.median(far) and far.max() < 0.15
    assert small.dtype == np.float32 and small.shape == (12, 128)


def test_each_chip_gives_the_same_alone_or_among_others(kept, chips):
    network = ResNet(provider="cpu-int8", kept=kept)
    together = network.describe(chips)
    alone = np.concatenate([network.describe(chip[None]) for chip in chips])
    assert np.abs(together - alone).max() < 1e-6


def test_it_is_made_once_and_kept_whole(kept, monkeypatch):
    [file] = kept.iterdir()
    assert file.name.startswith("dlib_resnet.int8-") and file.stat().st_size < 8_000_000
    monkeypatch.setattr(int8, "_made", lambda *_: pytest.fail("it was made again"))
    ResNet(provider="cpu-int8", kept=kept)


def test_it_needs_no_tool_once_it_is_kept(kept, chips, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert ResNet(provider="cpu-int8", kept=kept).describe(chips[:1]).shape == (1, 128)


def test_without_the_tool_it_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match="needs the onnx package .* requirements-int8.txt"):
        ResNet(provider="cpu-int8", kept=tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_damaged_file_is_made_anew(kept, chips, tmp_path, caplog):
    [file] = kept.iterdir()
    whole = file.read_bytes()
    (tmp_path / file.name).write_bytes(whole[:5000])
    with caplog.at_level(logging.WARNING):
        network = ResNet(provider="cpu-int8", kept=tmp_path)
    assert "made anew" in caplog.text
    assert np.array_equal(network.describe(chips), ResNet(provider="cpu-int8", kept=kept).describe(chips))
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    file = tmp_path / "a file"
    file.write_text("")
    with pytest.raises(StorageError, match="cannot be kept"):
        int8._keep(b"model", file / "model.onnx")
    with pytest.raises(ValueError, match="folder to keep"):
        ResNet(provider="cpu-int8")


def test_the_drawn_faces_are_the_same_each_time_and_differ():
    face = drawn_face(50)
    faces = int8.drawn_faces(face, 5)
    assert np.array_equal(faces, int8.drawn_faces(face, 5)) and faces.shape == (5, 50, 50, 3)
    assert all((one != other).mean() > 0.5 for one, other in zip(faces, faces[1:], strict=False))


def test_an_engine_with_it_has_an_id_of_its_own_and_finds_the_same_faces(kept, models_dir, photos, monkeypatch):
    from recognizer import images
    from recognizer.engines import dlib_onnx

    # the shared folder of models is read only here
    monkeypatch.setattr(dlib_onnx, "_resnet_int8", lambda threads, _, made=dlib_onnx._resnet_int8: made(threads, kept))
    engine, full = (make_engine("yunet", "dlib", models_dir=models_dir, provider=name) for name in ("cpu-int8", "cpu"))
    assert engine.info.id == full.info.id + "@cpu-int8"
    image = images.decode(photos["obama.jpg"].read_bytes())
    faces = full.find(image)
    assert np.array_equal(engine.find(image).boxes, faces.boxes)
    far = np.linalg.norm(engine.describe(image, faces) - full.describe(image, faces), axis=1)
    assert 0 < far[0] < 0.15
