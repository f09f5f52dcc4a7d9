"""What every network and every estimator of attributes does: with the real weights, and as the originals do."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from recognizer.attributes import graphs, shards, tflite
from recognizer.attributes.estimators import ESTIMATORS, calibrations
from recognizer.attributes.networks import EXPRESSIONS, NETWORKS, PADDING, TOGETHER, load_network
from recognizer.attributes.reader import UNFIT, AttributeReader, answered, cut_chips, needed_networks
from recognizer.core.answers import ATTRIBUTES, AgeAnswer, ExpressionAnswer, GenderAnswer
from recognizer.core.errors import ModelCorrupt, ModelMissing
from recognizer.core.types import Faces
from recognizer.engines.dlib.native import points_array, shapes
from recognizer.engines.dlib.onnx import drawn_face
from recognizer.engines.yunet import YunetDetector
from recognizer.photos import images

RECORDED = json.loads(Path(__file__).with_name("recorded_attributes.json").read_text())["chips"]
#: Largest difference from what the original runtimes give. fer's rounds activations to 8 bits as well.
TOLERANCES = {"age-gender": 1e-4, "expression": 1e-5, "expression-fer": 0.01}


@pytest.fixture(scope="module")
def reader(attribute_weights) -> AttributeReader:
    return AttributeReader(ATTRIBUTES, attribute_weights)


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, attribute_weights):
    return load_network(request.param, attribute_weights)


@pytest.fixture(scope="module")
def pictured(photos, models_dir) -> tuple[np.ndarray, Faces]:
    """A photo of several people's faces side by side, and the faces."""
    halves = [images.resize(images.decode(photos[name].read_bytes()).pixels, 500) for name in ("obama.jpg", "astronaut.png")]
    height = min(len(each) for each in halves)
    pixels = np.ascontiguousarray(np.hstack([each[:height] for each in halves]))
    found = YunetDetector(models_dir / "face_detection_yunet_2023mar.onnx").detect(pixels)
    return pixels, found.select(np.argsort(found.boxes[:, 0])[:2])


def chips(side: int) -> np.ndarray:
    """The chips of `RECORDED`, in its order."""
    face = drawn_face(112)
    random = np.random.default_rng(9)
    dimmed = np.clip(face * 0.6 + 30, 0, 255).astype(np.uint8)
    noise = random.integers(0, 256, (112, 112, 3), dtype=np.uint8)
    made = [face, dimmed, face[:, ::-1], noise, np.full((112, 112, 3), 127, np.uint8)]
    return np.array([cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA) if side != 112 else each for each in made])


# --- networks --------------------------------------------------------------------------------------------------------


def test_gives_what_the_original_gives(network):
    if network.key not in TOLERANCES:
        pytest.skip(f"{network.key} is used as its file is: nothing is converted")
    wanted = np.array([RECORDED[name][network.key] for name in RECORDED])
    assert np.abs(network.run(chips(network.side)) - wanted).max() <= TOLERANCES[network.key]


def test_a_face_gets_the_same_alone_and_in_a_batch(network):
    given = np.concatenate([chips(network.side), chips(network.side)[::-1]])
    assert len(given) > TOGETHER
    together = network.run(given)
    alone = np.concatenate([network.run(given[index : index + 1]) for index in range(len(given))])
    assert together.shape[0] == len(given) and together.dtype == np.float64
    assert np.allclose(together, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("wrong", [np.zeros((1, 20, 20, 3), np.uint8), np.zeros((112, 112, 3), np.uint8)])
def test_chips_of_another_size_are_refused(network, wrong):
    with pytest.raises(ValueError, match="expected uint8 chips"):
        network.run(wrong)


def test_without_its_file_a_network_says_what_to_fetch(network, tmp_path):
    with pytest.raises(ModelMissing, match="models fetch attributes"):
        load_network(network.key, tmp_path)


@pytest.mark.parametrize("key", ["age-gender", "expression"])
def test_a_shard_of_another_length_is_refused(key, attribute_weights):
    file = {"age-gender": "age_gender_model.bin", "expression": "face_expression_model.bin"}[key]
    data = (attribute_weights / file).read_bytes()
    for wrong in (data[:-1], data + b"x"):
        with pytest.raises(ModelCorrupt):
            shards.read_shard(key, wrong)
    with pytest.raises(ModelCorrupt, match="lack"):
        graphs.age_gender_graph({}, 112)


def test_a_damaged_tensorflow_lite_file_is_refused(attribute_weights):
    data = (attribute_weights / "emotion_model_quantized.tflite").read_bytes()
    for wrong in (b"", b"x" * 100, data[:8], data[:5000], data[:4] + b"TFL3" + b"\xff" * 60):
        with pytest.raises(ModelCorrupt):
            tflite.read_lite(wrong)


# --- estimators ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=ATTRIBUTES)
def estimator(request):
    return ESTIMATORS[request.param]


def test_is_known_by_its_attribute_and_needs_known_networks(estimator):
    assert ESTIMATORS[estimator.attribute] is estimator
    assert estimator.networks and set(estimator.networks) <= set(NETWORKS)
    assert needed_networks([estimator.attribute]) == estimator.networks


def test_its_calibration_names_data_set_and_date(estimator):
    table = calibrations()[estimator.attribute]
    assert table["data_set"] and table["date"].startswith("20")


def test_every_evidence_gets_a_true_answer_or_a_reason(estimator, attribute_weights):
    """Also noise: probabilities are within 0 and 1, ranges are ordered, and what is said is plain data."""
    networks = [load_network(key, attribute_weights) for key in estimator.networks]
    outputs = {each.key: each.run(chips(each.side)) for each in networks}
    evidence = estimator.evidence(outputs)
    assert evidence.shape[0] == len(RECORDED) and np.isfinite(evidence).all()
    for each in (*evidence, evidence.mean(axis=0), evidence[0] * 100, -100 * np.ones_like(evidence[0])):
        said = estimator.answer(each)
        if isinstance(said, str):
            assert said in ("uncertain", "under_13")
            continue
        shown = json.loads(json.dumps(said.to_dict()))
        if isinstance(said, AgeAnswer):
            assert 0 <= said.low <= said.high <= 100 and shown["coverage"] == 0.8
        elif isinstance(said, GenderAnswer):
            assert said.value in ("female", "male") and 0.9 <= shown["probability"] <= 1
        else:
            assert isinstance(said, ExpressionAnswer)
            assert shown["probability"] == max(shown["all"].values()) == shown["all"][said.value]
            assert sum(said.all.values()) == pytest.approx(1)


def test_of_children_no_gender_is_said():
    sure = 5.0
    assert ESTIMATORS["gender"].answer(np.array([sure, 30.0])) == GenderAnswer("female", pytest.approx(0.9933, abs=1e-4))
    assert ESTIMATORS["gender"].answer(np.array([-sure, 30.0])).value == "male"
    assert ESTIMATORS["gender"].answer(np.array([sure, 8.0])) == "under_13"
    assert ESTIMATORS["gender"].answer(np.array([1.0, 30.0])) == "uncertain"


def test_classes_not_worth_showing_are_counted_together():
    """Sad and angry are taken for each other: each alone is less probable than neutral here, together they are not."""
    shares = dict.fromkeys(EXPRESSIONS, 0.001) | {"neutral": 0.3, "sad": 0.35, "angry": 0.345}
    evidence = np.log([shares[name] for name in EXPRESSIONS]) / calibrations()["expression"]["sharpness"]
    said = ESTIMATORS["expression"].answer(evidence)
    assert said.value == "other" and set(said.all) == {"happy", "neutral", "surprised", "other"} and said.label == ""


# --- the reader ------------------------------------------------------------------------------------------------------


def test_what_it_says_of_known_faces(reader, pictured):
    """Barack Obama at 47 and Eileen Collins at 48, both on official portraits, smiling."""
    pixels, faces = pictured
    obama, collins = reader.read(pixels, faces, [[], []])
    assert obama.gender.value == "male"
    assert reader.evidence(pixels, faces)[1]["gender"][0] > 0  # female, rather than sure enough to be said
    assert obama.age.low <= 47 <= obama.age.high and collins.age.high >= 30
    assert collins.expression.value == "happy"
    assert set(collins.to_dict()) == {*ATTRIBUTES, "reasons"}


@pytest.mark.parametrize("code", UNFIT)
def test_says_nothing_of_a_face_with_this_remark(reader, pictured, code):
    pixels, faces = pictured
    unfit, fit = reader.read(pixels, faces, [[code, "unknown remark"], ["unknown remark"]])
    assert unfit.to_dict() == {**dict.fromkeys(ATTRIBUTES), "reasons": {name: [code] for name in ATTRIBUTES}}
    assert fit.age is not None and fit.reasons.get("age") is None


def test_only_what_is_wanted_is_read_and_loaded(attribute_weights, tmp_path, pictured):
    file = "age_gender_model.bin"
    (tmp_path / file).symlink_to(attribute_weights / file)
    pixels, faces = pictured
    found = AttributeReader(["age"], tmp_path).read(pixels, faces, [[], []], ["age", "gender"])
    assert [set(each.answers) for each in found] == [{"age"}, {"age"}]


def test_no_faces_no_answers(reader, pictured):
    assert reader.read(pictured[0], Faces.empty(), []) == []
    assert cut_chips(pictured[0], Faces.empty(), {32})[32].shape == (0, 32, 32, 3)


def test_landmarks_at_hand_are_not_found_again_and_give_the_same(reader, pictured, monkeypatch):
    """Also of fewer faces than have landmarks: those about which nothing is said are left out."""
    pixels, faces = pictured
    points = points_array(shapes(pixels, faces))
    anew, without_first = reader.evidence(pixels, faces), reader.read(pixels, faces, [["small"], []])
    monkeypatch.setattr("recognizer.attributes.reader.shapes", None)
    found = reader.evidence(pixels, faces, points=points)
    assert all(np.array_equal(one[name], other[name]) for one, other in zip(anew, found, strict=True) for name in ATTRIBUTES)
    assert reader.read(pixels, faces, [["small"], []], points=points) == without_first


def test_chips_cut_together_are_dlibs_own_to_the_last_bit(pictured):
    """Of a photo much larger than its chips as well, which dlib reduces first."""
    import dlib

    for scale in (1, 4):
        pixels = np.ascontiguousarray(pictured[0].repeat(scale, axis=0).repeat(scale, axis=1))
        faces = pictured[1].scaled(scale, scale)
        found = cut_chips(pixels, faces, {64, 32, 112})
        for index, each in enumerate(shapes(pixels, faces)):
            for side, chips in found.items():
                assert np.array_equal(chips[index], dlib.get_face_chip(pixels, each, size=side, padding=PADDING))


def test_the_mean_of_evidence_is_the_evidence_of_all(reader, pictured):
    """A face on two pictures that differ a little: the answer lies between those of each."""
    pixels, faces = pictured
    dimmed = np.clip(pixels * 0.8, 0, 255).astype(np.uint8)
    one, other = (reader.evidence(each, faces)[0] for each in (pixels, dimmed))
    both = {name: (one[name] + other[name]) / 2 for name in one}
    lows = sorted(answered(each, ["age"]).age.low for each in (one, both, other))
    assert answered(both, ["age"]).age.low == lows[1]
