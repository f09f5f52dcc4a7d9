"""The ONNX graphs give what dlib gives, with the real weights; damaged files are refused."""

import functools
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recognizer.core.errors import ModelCorrupt
from recognizer.engines.dlib import datfile, jitter, onnx, pyramid
from recognizer.engines.protocols import Detector
from recognizer.weights import manifest

from . import data
from .parallel import at_once

dlib = pytest.importorskip("dlib")


@pytest.fixture(scope="module")
def resnet():
    return onnx.ResNet()


@pytest.fixture(scope="module")
def mmod():
    return onnx.Mmod()


@pytest.fixture(scope="module")
def dlib_resnet():
    return dlib.face_recognition_model_v1(str(manifest.dlib_file(onnx.RESNET_FILE)))


@pytest.fixture(scope="module")
def dlib_mmod():
    return dlib.cnn_face_detection_model_v1(str(manifest.dlib_file(onnx.MMOD_FILE)))


def drawn_chips(count):
    """Noise, flat colours and drawn faces of different light."""
    random = np.random.default_rng(5)
    chips = random.integers(0, 256, (count, 150, 150, 3), dtype=np.uint8)
    face = onnx.drawn_face(150).astype(float)
    for index in range(0, count, 2):
        chips[index] = np.clip(face * random.uniform(0.4, 1.2, 3) + random.normal(0, 12, face.shape), 0, 255)
    chips[-1] = 0
    return chips


def scene(height, width, faces):
    """Drawn faces on a soft background: each (left, top, side)."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([90 + 40 * np.sin(x / 37), 90 + 40 * np.cos(y / 29), 100 + 30 * np.sin((x + y) / 53)], axis=2)
    picture = picture.astype(np.uint8)
    for left, top, side in faces:
        picture[top : top + side, left : left + side] = onnx.drawn_face(side)
    return picture


def dlib_boxes(found):
    boxes = [(f.rect.left(), f.rect.top(), f.rect.right(), f.rect.bottom()) for f in found]
    return np.array(boxes, int).reshape(-1, 4), np.array([f.confidence for f in found])


class TestResNet:
    def test_runs_on_the_graph_here(self, resnet):
        assert not resnet.on_dlib

    def test_what_is_recorded_is_what_dlib_says(self, dlib_resnet):
        said = np.array(dlib_resnet.compute_face_descriptor(onnx.drawn_face(150)))
        assert np.linalg.norm(onnx.recorded_descriptor() - said) <= 1e-6

    def test_dlib_itself_is_asked_only_where_the_record_does_not_fit(self, monkeypatch):
        asked = []
        real = onnx.DlibResNet
        monkeypatch.setattr(onnx, "DlibResNet", lambda: asked.append(1) or real())
        assert not onnx.ResNet().on_dlib and not asked
        monkeypatch.setattr(onnx, "recorded_descriptor", lambda: np.zeros(128))
        assert not onnx.ResNet().on_dlib and asked

    def test_describes_no_chips(self, resnet):
        assert resnet.describe(np.zeros((0, 150, 150, 3), np.uint8)).shape == (0, 128)

    @pytest.mark.slow
    def test_gives_dlibs_descriptors(self, resnet, dlib_resnet):
        chips = drawn_chips(20)
        wanted = np.array(dlib_resnet.compute_face_descriptor(list(chips)))
        found = resnet.describe(chips)
        assert found.dtype == np.float32
        assert np.linalg.norm(found - wanted, axis=1).max() <= 1e-5

    def test_is_the_same_to_the_bit_alone_and_among_others(self, resnet):
        chips = drawn_chips(19)
        together = resnet.describe(chips)
        assert np.array_equal(together, resnet.describe(chips))
        assert np.array_equal(together, np.concatenate([resnet.describe(chip[None]) for chip in chips]))

    def test_several_threads_at_once_give_what_one_gives(self, resnet):
        chips = drawn_chips(6)
        wanted = resnet.describe(chips)
        assert all(np.array_equal(each, wanted) for each in at_once(lambda: resnet.describe(chips)))

    def test_takes_chips_that_are_not_contiguous(self, resnet):
        chips = drawn_chips(2)
        assert np.array_equal(resnet.describe(chips[:, ::-1]), resnet.describe(np.ascontiguousarray(chips[:, ::-1])))

    @pytest.mark.parametrize(
        "chips", [np.zeros((1, 112, 112, 3), np.uint8), np.zeros((150, 150, 3), np.uint8), np.zeros((1, 150, 150, 3))]
    )
    def test_refuses_other_chips(self, resnet, chips):
        with pytest.raises(ValueError, match="expected uint8 chips"):
            resnet.describe(chips)

    @pytest.mark.slow
    def test_jittering_gives_what_a_fresh_dlib_model_gives(self, resnet):
        fresh = dlib.face_recognition_model_v1(str(manifest.dlib_file(onnx.RESNET_FILE)))
        chip = drawn_chips(1)
        wanted = np.array(fresh.compute_face_descriptor(chip[0], 20))
        assert np.linalg.norm(resnet.describe_jittered(chip, 20)[0] - wanted) <= 1e-4

    def test_jittering_is_the_same_on_each_call(self, resnet):
        chips = drawn_chips(2)
        assert np.array_equal(resnet.describe_jittered(chips, 3), resnet.describe_jittered(chips, 3))
        assert np.array_equal(resnet.describe_jittered(chips, 1), resnet.describe(chips))
        assert resnet.describe_jittered(chips[:0], 3).shape == (0, 128)

    @pytest.mark.slow
    def test_dlib_takes_over_when_the_graph_differs(self, monkeypatch, caplog, dlib_resnet):
        monkeypatch.setattr(onnx, "TOLERANCE", 0.0)
        with caplog.at_level(logging.WARNING):
            slow = onnx.ResNet()
        assert slow.on_dlib and "dlib is used" in caplog.text
        chips = drawn_chips(2)
        wanted = np.array(dlib_resnet.compute_face_descriptor(list(chips)), np.float32)
        assert np.array_equal(slow.describe(chips), wanted)

    @pytest.mark.slow
    def test_gives_dlibs_descriptors_of_photos(self, resnet, dlib_resnet, photos):
        predictor = dlib.shape_predictor(str(manifest.dlib_file(onnx.POINTS_FILE)))
        for name in ("obama.jpg", "obama3.jpg", "biden.jpg", "astronaut.png"):
            pixels = dlib.load_rgb_image(str(photos[name]))
            for rectangle in dlib.get_frontal_face_detector()(pixels):
                shape = predictor(pixels, rectangle)
                wanted = np.array(dlib_resnet.compute_face_descriptor(pixels, shape))
                found = resnet.describe(onnx.face_chips(pixels, [shape]))[0]
                assert np.linalg.norm(found - wanted) <= 1e-5

    def test_gives_dlibs_descriptors_of_many_photos(self, resnet, dlib_resnet):
        predictor = dlib.shape_predictor(str(manifest.dlib_file(onnx.POINTS_FILE)))
        for photo in sorted(data.folder("lfw-dev").glob("images/*/*.jpg"))[::400]:
            pixels = dlib.load_rgb_image(str(photo))
            shape = predictor(pixels, dlib.rectangle(75, 75, 175, 175))
            wanted = np.array(dlib_resnet.compute_face_descriptor(pixels, shape))
            found = resnet.describe(onnx.face_chips(pixels, [shape]))[0]
            assert np.linalg.norm(found - wanted) <= 1e-5


class TestJitter:
    @pytest.mark.slow
    def test_copies_are_those_of_a_fresh_dlib_generator(self, resnet, dlib_resnet):
        chip = drawn_chips(2)[1]
        copies = jitter.jittered(chip, 8)
        fresh = dlib.face_recognition_model_v1(str(manifest.dlib_file(onnx.RESNET_FILE)))
        wanted = np.array(fresh.compute_face_descriptor(chip, 8))
        found = np.array(dlib_resnet.compute_face_descriptor(list(copies))).mean(axis=0)
        assert copies.shape == (8, 150, 150, 3)
        assert np.linalg.norm(found - wanted) <= 1e-4

    def test_no_copies(self):
        assert jitter.jittered(drawn_chips(1)[0], 0).shape == (0, 150, 150, 3)


SCENES = {
    "nothing": (240, 320, []),
    "one": (200, 260, [(40, 30, 140)]),
    "large": (310, 300, [(15, 8, 280)]),
    "three": (330, 470, [(10, 20, 120), (150, 60, 200), (340, 180, 125)]),
    "cut off": (150, 260, [(0, 0, 150), (125, 15, 135)]),
    "tall": (700, 90, [(0, 500, 90)]),
    "wide": (97, 801, [(3, 0, 97), (600, 0, 97)]),
}
#: The same where the picture is enlarged first, which makes four times the work: half as large, but for the narrow ones,
#: whose faces are found only enlarged.
SMALL_SCENES = {
    "nothing": (120, 160, []),
    "one": (100, 130, [(20, 15, 70)]),
    "large": (155, 150, [(7, 4, 140)]),
    "three": (165, 235, [(5, 10, 60), (75, 30, 100), (170, 90, 62)]),
    "cut off": (75, 130, [(0, 0, 75), (62, 7, 67)]),
    "tall": (350, 90, [(0, 200, 90)]),
    "wide": (97, 400, [(3, 0, 97), (290, 0, 97)]),
}


class TestMmod:
    def test_runs_on_the_graph_here(self, mmod):
        assert not mmod.on_dlib

    @pytest.mark.slow
    @pytest.mark.parametrize("upsample", [0, 1])
    @pytest.mark.parametrize("name", SCENES)
    def test_finds_what_dlib_finds(self, mmod, dlib_mmod, name, upsample):
        pixels = scene(*(SMALL_SCENES if upsample else SCENES)[name])
        wanted, wanted_scores = dlib_boxes(dlib_mmod(pixels, upsample))
        assert bool(len(wanted)) == (name != "nothing" and (upsample > 0 or name not in ("tall", "wide")))
        boxes, scores = mmod.detect(pixels, upsample)
        assert boxes.tolist() == wanted.tolist()
        assert np.allclose(scores, wanted_scores, rtol=0, atol=1e-4)

    @pytest.mark.parametrize(
        ("height", "width"), [(11, 10), (12, 300), (300, 12), (23, 57), (29, 61), (64, 64), (101, 99), (40, 24)]
    )
    def test_small_pictures_give_what_dlib_gives(self, mmod, dlib_mmod, height, width):
        pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        wanted, _ = dlib_boxes(dlib_mmod(pixels, 0))
        assert mmod.detect(pixels)[0].tolist() == wanted.tolist()

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (9, 9), (500, 3)])
    def test_tiny_pictures_hold_no_face(self, mmod, height, width):
        boxes, scores = mmod.detect(np.zeros((height, width, 3), np.uint8))
        assert boxes.shape == (0, 4) and scores.shape == (0,)

    @pytest.mark.slow
    def test_finds_what_dlib_finds_on_a_photo(self, mmod, dlib_mmod, photos):
        pixels = dlib.load_rgb_image(str(photos["astronaut.png"]))[:320, 80:400].copy()
        wanted, wanted_scores = dlib_boxes(dlib_mmod(pixels, 0))
        boxes, scores = mmod.detect(pixels)
        assert len(wanted) == 1 and boxes.tolist() == wanted.tolist()
        assert np.allclose(scores, wanted_scores, rtol=0, atol=1e-5)

    def test_finds_some_faces_at_all(self, mmod):
        assert len(mmod.detect(scene(*SCENES["three"]))[0]) >= 1

    @pytest.mark.slow
    def test_dlib_takes_over_when_the_graph_differs(self, monkeypatch, caplog):
        monkeypatch.setattr(onnx, "SCORE_TOLERANCE", -1.0)
        with caplog.at_level(logging.WARNING):
            slow = onnx.Mmod()
        assert slow.on_dlib and "dlib is used" in caplog.text
        assert len(slow.detect(onnx.drawn_face(120))[0]) == 1


class TestCnnDetector:
    def test_is_a_detector(self):
        assert isinstance(onnx.CnnDetector(), Detector)

    def test_finds_nothing_in_a_plain_picture(self):
        faces = onnx.CnnDetector().detect(np.full((120, 160, 3), 90, np.uint8))
        assert len(faces) == 0 and faces.scheme == "dlib5"

    def test_gives_boxes_inside_the_picture_and_five_points(self):
        pixels = scene(*SCENES["cut off"])
        faces = onnx.CnnDetector().detect(pixels)
        assert len(faces) >= 1 and faces.scheme == "dlib5"
        assert (faces.boxes >= 0).all()
        assert (faces.boxes[:, [0, 2]] <= 260).all() and (faces.boxes[:, [1, 3]] <= 150).all()
        assert (np.diff(faces.scores) <= 0).all()
        box = faces.boxes[0]
        assert (faces.landmarks[0] > box[:2] - 10).all() and (faces.landmarks[0] < box[2:] + 10).all()


class TestLayout:
    @given(st.integers(60, 500), st.integers(60, 500))
    @settings(max_examples=60, deadline=None)
    def test_copies_lie_apart_on_the_canvas(self, height, width):
        plan = pyramid.layout(height, width)
        canvas = np.zeros((plan.height, plan.width), int)
        for left, top, right, bottom in plan.tiles:
            assert left >= 11 and top >= 11 and right <= plan.width - 11 and bottom <= plan.height - 11
            canvas[top:bottom, left:right] += 1
        assert canvas.max() == 1 and (plan.tiles[0] == (11, 11, 11 + width, 11 + height)).all()

    def test_halves_are_rounded_away_from_zero(self):
        assert pyramid.round_away(np.array([-1.5, -0.5, -0.4, 0.4, 0.5, 1.5])).tolist() == [-2, -1, 0, 0, 1, 2]

    def test_suppression_keeps_the_first_of_what_overlaps(self):
        boxes = np.array([[0, 0, 9, 9], [1, 1, 10, 10], [30, 30, 39, 39], [0, 0, 4, 4]])
        assert pyramid.suppress(boxes, 0.34, 1.0).tolist() == [0, 2, 3]
        assert pyramid.suppress(boxes[:0], 0.34, 1.0).tolist() == []


class TestFiles:
    def test_an_altered_file_is_refused_by_its_hash(self, monkeypatch, tmp_path):
        data = bytearray(manifest.dlib_file(onnx.MMOD_FILE).read_bytes())
        data[-5] ^= 1
        (tmp_path / "altered.dat").write_bytes(data)
        monkeypatch.setattr(manifest, "dlib_file", lambda name: tmp_path / "altered.dat")
        with pytest.raises(ModelCorrupt, match="sha256"):
            onnx.Mmod()

    @pytest.mark.parametrize(
        ("name", "read"),
        [(onnx.RESNET_FILE, datfile.read_resnet), (onnx.MMOD_FILE, datfile.read_mmod)],
    )
    @pytest.mark.parametrize("share", [0, 1e-6, 0.001, 0.3, 0.9, 0.999999])
    def test_a_cut_off_file_is_refused(self, name, read, share):
        data = manifest.dlib_file(name).read_bytes()
        with pytest.raises(ModelCorrupt):
            read(data[: int(len(data) * share)])

    def test_bytes_after_the_end_are_refused(self):
        data = manifest.dlib_file(onnx.MMOD_FILE).read_bytes()
        with pytest.raises(ModelCorrupt, match="end"):
            datfile.read_mmod(data + b"\0")

    def test_the_other_networks_file_is_refused(self):
        with pytest.raises(ModelCorrupt):
            datfile.read_resnet(manifest.dlib_file(onnx.MMOD_FILE).read_bytes())

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_an_altered_file_is_read_or_refused_and_nothing_else(self, data):
        content = bytearray(_mmod_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, 3000))] = data.draw(st.integers(0, 255))
        try:
            network = datfile.read_mmod(bytes(content))
        except ModelCorrupt:
            return
        assert [layer.kind for layer in network.layers][:3] == ["con", "affine", "relu"]

    @given(st.binary(max_size=400))
    @settings(max_examples=150, deadline=None)
    def test_any_bytes_are_refused(self, content):
        with pytest.raises(ModelCorrupt):
            datfile.read_resnet(content)

    @given(st.integers(-(2**63), 2**63 - 1))
    def test_integers_are_read_as_dlib_writes_them(self, value):
        size = max(1, (abs(value).bit_length() + 7) // 8)
        written = bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")
        assert datfile.DatReader(written).integer() == value


@functools.cache
def _mmod_bytes():
    return manifest.dlib_file(onnx.MMOD_FILE).read_bytes()
