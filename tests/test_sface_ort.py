"""SFace on ONNX Runtime gives what cv2.FaceRecognizerSF gives."""

import numpy as np
import pytest

from recognizer.core.errors import ModelCorrupt
from recognizer.engines import onnxfile
from recognizer.engines.dlib.onnx import drawn_face
from recognizer.engines.sface_ort import SFaceNet
from recognizer.weights import manifest

from .parallel import at_once

cv2 = pytest.importorskip("cv2")


def chips(count):
    """Noise, drawn faces of different light, black."""
    random = np.random.default_rng(8)
    made = random.integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)
    face = drawn_face(112).astype(float)
    for index in range(0, count, 2):
        made[index] = np.clip(face * random.uniform(0.4, 1.2, 3) + random.normal(0, 12, face.shape), 0, 255)
    made[-1] = 0
    return made


@pytest.fixture(scope="session")
def model(models_dir):
    return manifest.path("sface", models_dir)


@pytest.fixture(scope="module")
def sface(model):
    return SFaceNet(model)


def test_describes_no_chips(sface):
    assert sface.describe(np.zeros((0, 112, 112, 3), np.uint8)).shape == (0, 128)


def test_gives_opencvs_features(sface, model):
    recognizer = cv2.FaceRecognizerSF.create(str(model), "")
    given = chips(11)
    wanted = np.concatenate([recognizer.feature(cv2.cvtColor(chip, cv2.COLOR_RGB2BGR)) for chip in given])
    found = sface.describe(given)
    assert found.dtype == np.float32 and found.shape == (11, 128)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    assert ((found * wanted).sum(axis=1) / lengths >= 1 - 1e-5).all()
    assert np.allclose(found, wanted, rtol=0, atol=1e-3)


def test_is_the_same_to_the_bit_alone_and_among_others(sface):
    given = chips(9)
    together = sface.describe(given)
    assert np.array_equal(together, sface.describe(given))
    assert np.array_equal(together, np.concatenate([sface.describe(chip[None]) for chip in given]))


def test_threads_share_one_network(sface):
    given = chips(5)
    wanted = sface.describe(given)
    assert all(np.array_equal(each, wanted) for each in at_once(lambda: sface.describe(given)))


@pytest.mark.parametrize("given", [np.zeros((1, 150, 150, 3), np.uint8), np.zeros((1, 112, 112, 3), np.float32)])
def test_refuses_other_chips(sface, given):
    with pytest.raises(ValueError, match="expected uint8 chips"):
        sface.describe(given)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_cut_off_file_is_refused(model, tmp_path, share):
    data = model.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelCorrupt):
        SFaceNet(tmp_path / "cut.onnx")


def test_another_model_is_refused(tmp_path):
    graph = onnxfile.GraphBuilder("other")
    graph.node("Relu", [graph.input("x", onnxfile.FLOAT, ("n",))], "y")
    graph.output("y", onnxfile.FLOAT, ("n",))
    (tmp_path / "other.onnx").write_bytes(graph.to_bytes())
    with pytest.raises(ModelCorrupt, match="SFace's layers"):
        SFaceNet(tmp_path / "other.onnx")


def test_weights_of_another_shape_are_refused(model, tmp_path):
    altered = onnxfile.parse(model.read_bytes())
    victim = next(tensor for tensor in altered.graph.initializer if tensor.name == "conv_2_batchnorm_gamma")
    del victim.dims[:]
    victim.dims.append(32)
    victim.raw_data, victim.data_type = b"\0" * 128, onnxfile.FLOAT
    victim.ClearField("float_data")
    (tmp_path / "altered.onnx").write_bytes(onnxfile.to_bytes(altered))
    with pytest.raises(ModelCorrupt):
        SFaceNet(tmp_path / "altered.onnx")
