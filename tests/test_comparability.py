"""Which faces can be compared: the photos of face_recognition's own tests, damaged in many ways."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest

from recognizer.core.errors import InvalidParameter, PoorPhoto
from recognizer.core.settings import PREFIX, Settings
from recognizer.engines import EMBEDDERS, comparability, make_engine
from recognizer.engines.dlib import native
from recognizer.evaluation import degrade
from recognizer.evaluation.degradations import DEGRADATIONS, degradations
from recognizer.galleries.thresholds import Curve
from recognizer.photos import images, plain
from recognizer.photos.remarks import SENTENCES, Comparability, factor_of_two
from recognizer.service import make_service
from recognizer.service.matcher import Matcher

from .commands import run_command

PEOPLE = {"biden.jpg": "Biden", "obama.jpg": "Obama", "astronaut.png": "Collins"}
KINDS = {each.kind: each for each in DEGRADATIONS}


@pytest.fixture(scope="module")
def engine(models_dir):
    return make_engine(models_dir=models_dir)


@pytest.fixture(scope="module")
def plain_faces(engine, photos):
    """Pixels, reduced to a usual size, and the face of each person."""
    found = {}
    for file, person in PEOPLE.items():
        pixels = images.resize(images.decode(photos[file].read_bytes()).pixels, 500)
        found[person] = pixels, engine.find(images.from_array(pixels))[0]
    return found


def seen(engine, pixels, centre):
    """The face nearest to a point, its embedding and the verdict; None where no face is found."""
    faces, image = engine.find_with_image(images.from_array(pixels))
    if not len(faces):
        return None
    middles = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    one = faces.select([int(np.hypot(*(middles - centre).T).argmin())])
    judged = engine.judged(image, one, engine.described_all([(image, one)])[0], engine.qualities(image, one))
    return judged.faces[0], judged.vectors[0], judged.verdicts[0]


def damaged(kind: str, strength: float, pixels, face) -> bytes:
    return images.encode_jpeg(KINDS[kind].apply(pixels, face, strength)[0], quality=95)


@pytest.mark.parametrize("file", ["biden.jpg", "obama.jpg", "obama2.jpg", "obama3.jpg", "astronaut.png"])
def test_plain_photos_are_comparable(engine, photos, file):
    image = images.decode(photos[file].read_bytes())
    faces, image = engine.find_with_image(image)
    one = faces.select([0])
    judged = engine.judged(image, one, engine.described_all([(image, one)])[0], engine.qualities(image, one))
    assert judged.verdicts[0].comparable


@pytest.mark.slow
@pytest.mark.parametrize("each", DEGRADATIONS, ids=lambda each: each.kind)
def test_strangers_who_are_damaged_alike_stay_strangers(engine, plain_faces, each):
    points = engine.info.calibration
    curve = Curve(points.distances, points.rates)
    found = [seen(engine, *each.apply(pixels, face, each.strengths[-1])) for pixels, face in plain_faces.values()]
    for one, other in combinations([each for each in found if each is not None], 2):
        if one[2].comparable and other[2].comparable:
            rate = points.false_match_rate / factor_of_two([one[2], other[2]])
            assert np.linalg.norm(one[1] - other[1]) > curve.distance(rate)


@pytest.mark.parametrize(
    "kind, strength, remarks",
    [
        ("negative", 1, {"negative"}),
        ("blurred", 0.1, {"blurred"}),
        ("posterised", 2, {"few_tones"}),
        ("squeezed", 0.35, {"distorted"}),
    ],
)
def test_what_is_wrong_is_said(engine, plain_faces, kind, strength, remarks):
    told = []
    for pixels, face in plain_faces.values():
        found = seen(engine, *KINDS[kind].apply(pixels, face, strength))
        if found is not None and not found[2].comparable:
            assert found[2].remarks
            told.append(remarks <= set(found[2].remarks))
            assert all(each["message"] == SENTENCES[each["code"]] for each in plain.comparability(found[2])["remarks"])
    assert told and all(told)


@pytest.mark.parametrize("degrees", [90, 135, 180, 270])
def test_a_face_that_is_turned_is_found_and_described_upright(engine, plain_faces, photos, degrees):
    """A turned copy matches another photo of the person, and its box is where the face is."""
    pixels, face = plain_faces["Obama"]
    turned, centre = KINDS["turned"].apply(pixels, face, degrees)
    box, vector, verdict = seen(engine, turned, centre)
    other = images.resize(images.decode(photos["obama2.jpg"].read_bytes()).pixels, 500)
    upright = engine.find(images.from_array(other))
    known = engine.describe(images.from_array(other), upright)[0]
    assert verdict.comparable and np.linalg.norm(vector - known) <= engine.info.calibration.threshold
    assert np.hypot(*np.subtract(box.box.centre, centre)) < 0.3 * face.box.size
    assert verdict.remarks[0] == ("upside_down" if degrees in (135, 180) else "on_its_side")


def test_a_photo_upside_down_whose_face_passes_for_an_upright_one(engine, photos):
    """The detector finds a face between mouth and hair that is comparable, but of a kind on which strangers are alike."""
    pixels = images.decode(photos["obama2.jpg"].read_bytes()).pixels
    height, width = pixels.shape[:2]
    _, upright, _ = seen(engine, pixels, (width / 2, height / 3))
    face, vector, verdict = seen(engine, np.ascontiguousarray(pixels[::-1, ::-1]), (width / 2, height * 2 / 3))
    assert verdict.remarks[0] == "upside_down" and np.linalg.norm(vector - upright) < 0.7 * engine.info.calibration.threshold


@pytest.mark.parametrize("degrees", [0, 180])
def test_landmarks_of_the_embedding_are_those_that_would_be_found_anew(engine, photos, degrees):
    """In whole pixels of the decoded photo, also of one that is decoded at a reduced scale, and of a face that was described on
    a turned copy: attributes are aligned by them."""
    pixels = np.ascontiguousarray(np.rot90(images.decode(photos["obama2.jpg"].read_bytes()).pixels, degrees // 90))
    large = np.ascontiguousarray(pixels.repeat(3, axis=0).repeat(3, axis=1))
    image = images.decode(images.encode_jpeg(large), long_side=engine.decode_size)
    faces, image = engine.find_with_image(image)
    judged = engine.judged(image, faces, engine.described_all([(image, faces)])[0], engine.qualities(image, faces))
    near, scaled = engine.aligned(image, judged.faces)
    assert near.scale_x < 1 and judged.verdicts[0].comparable
    anew = native.points_array(native.shapes(near.pixels, scaled))
    assert np.array_equal(judged.points_on(near), anew)


# -- two faces ------------------------------------------------------------------------------------------------------


def test_a_picture_in_doubt_and_a_plain_one_are_compared_at_the_plain_threshold():
    doubtful, worse = Comparability(True, -1.0, 20.0, alike_factor=50.0), Comparability(True, -0.5, 90.0, alike_factor=400.0)
    crowded = Comparability(crowded_factor=7.0)
    assert factor_of_two([doubtful, Comparability()]) == factor_of_two([Comparability(), doubtful]) == 1
    assert factor_of_two([doubtful, worse]) == factor_of_two([worse, doubtful]) == 50
    assert factor_of_two([crowded, Comparability()]) == factor_of_two([doubtful, crowded]) == 7
    assert factor_of_two([worse]) == worse.rate_factor == 90 and factor_of_two([crowded]) == 7
    assert factor_of_two([]) == factor_of_two([Comparability()]) == 1


@pytest.mark.parametrize("scheme", ["yunet5", "dlib5"])
@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_a_picture_counts_for_more_where_the_other_one_is_in_no_less_doubt(scheme, embedder):
    """The factors of every engine rise with the doubt, and that of two pictures begins at a lower one."""
    judged = comparability.judge(scheme, embedder)
    one, two = (np.interp(np.linspace(-20, 0, 81) + more, *judged._factors) for more in (0, judged._both))
    assert (np.diff(one) >= 0).all() and (two >= one).all() and (two > 0).sum() > (one > 0).sum() > 0


def test_the_limit_of_verification_follows_from_both_verdicts(engine):
    doubtful, plain_one = Comparability(True, -1.0, 20.0, alike_factor=50.0), Comparability()
    asked = Matcher(engine.info, None, None, lambda: 0.01)
    assert asked.verification_limit([doubtful, plain_one]) == asked.verification_limit([plain_one, plain_one])
    assert asked.verification_limit([plain_one, plain_one]) == asked.one_to_one
    rate = asked.curve.rate(asked.one_to_one)
    assert asked.verification_limit([doubtful, doubtful]) == pytest.approx(asked.curve.distance(rate / 50))
    assert asked.verification_limit([doubtful]) == pytest.approx(asked.curve.distance(rate / 20))
    fixed = Matcher(engine.info, None, 0.9, lambda: 0.01)
    assert fixed.verification_limit([doubtful, doubtful]) == 0.9


def test_verification_of_a_doubtful_and_a_plain_photo_has_the_plain_threshold(service, engine, photos, monkeypatch):
    """`/verify` takes both verdicts into account, and says so in its threshold."""
    monkeypatch.setattr("recognizer.engines.turning.found_turned", lambda *_: None)
    data, shown = [photos[file].read_bytes() for file in ("obama.jpg", "obama2.jpg")], []
    for doubts in ([-0.1, -0.1], [-0.1, -20.0], [-20.0, -0.1], [-20.0, -20.0]):
        monkeypatch.setattr(comparability.Judge, "_doubt", lambda *_, left=doubts: left.pop(0))
        shown.append(service.recognition.verify(*data))
    both, *others = (each.threshold for each in shown)
    assert both < 0.9 * engine.info.calibration.threshold and len({each.distance for each in shown}) == 1
    assert others == pytest.approx([engine.info.calibration.threshold] * 3)


def test_limits_of_two_are_those_of_verification(engine):
    points, random = engine.info.calibration, np.random.default_rng(4)
    curve = Curve(points.distances, points.rates)
    rate = curve.rate(points.threshold)
    faces = [[Comparability(alike_factor=10**a, crowded_factor=10**c) for a, c in random.uniform(0, 4, (n, 2))] for n in (5, 3)]
    alike, crowded = (
        tuple(np.array([getattr(each, name) for each in side]) for side in faces) for name in ("alike_factor", "crowded_factor")
    )
    limits = degrade.limits_of_two(alike, crowded, curve, rate)
    for i, one in enumerate(faces[0]):
        for j, other in enumerate(faces[1]):
            assert limits[i, j] == pytest.approx(curve.distance(rate / factor_of_two([one, other])))


# -- the product ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tmp_path_factory, models_dir):
    folder = tmp_path_factory.mktemp("comparable")
    made = make_service(
        Settings(known_faces=folder / "known", state_dir=folder / "state", models_dir=models_dir, watch=False, workers=1)
    )
    made.start()
    yield made
    made.close()


@pytest.mark.slow
def test_a_negative_is_nobody_enrols_nobody_and_may_be_forced(service, plain_faces):
    pixels, face = plain_faces["Biden"]
    negative, good = damaged("negative", 1, pixels, face), images.encode_jpeg(pixels, quality=95)
    with pytest.raises(PoorPhoto) as refused:
        service.subjects.enrol("Biden", negative)
    assert refused.value.details["remarks"] and SENTENCES[refused.value.details["remarks"][0]] in refused.value.message
    service.subjects.enrol("Biden", good)
    enrolled = service.subjects.enrol("Negative", negative, force=True)
    assert enrolled.encoding.forced and service.enrolment.is_forced(enrolled.encoding.photo)
    (photo,) = service.subjects.person("Negative").photos
    assert photo.file.endswith(".forced.jpg") and photo.encoding.forced

    (found,) = service.recognition.recognize(negative, top_k=3).faces
    assert not found.comparable and found.subject is None and found.candidates == ()
    shown = found.to_dict()
    assert shown["comparable"] is False and shown["false_match_rate"] is None
    assert "negative" in [each["code"] for each in shown["remarks"]]
    same = service.recognition.verify(negative, negative)
    assert not same.same and not same.comparable and same.false_match_rate is None
    assert service.recognition.verify(negative, negative, threshold=4).same is False
    assert service.recognition.recognize(good).faces[0].subject == "Biden"
    # in video the forced template names nobody, not even itself
    assert service.video.vision.match(enrolled.encoding.vector[None])[0].subject != "Negative"


@pytest.mark.slow
def test_boxes_of_faces_beyond_the_edge_are_inside_the_photo(service, plain_faces):
    """What is computed from the whole face is not changed by that: the share that is cut off is of the whole box."""
    pixels, face = plain_faces["Obama"]
    beyond = 0
    for cut in ("left", "top", "right", "bottom"):
        box, edges = face.box, {"left": 0, "top": 0, "right": pixels.shape[1], "bottom": pixels.shape[0]}
        share = 0.35 * (box.width if cut in ("left", "right") else box.height)
        edges[cut] = round(getattr(box, cut) + (share if cut in ("left", "top") else -share))
        part = np.ascontiguousarray(pixels[edges["top"] : edges["bottom"], edges["left"] : edges["right"]])
        height, width = part.shape[:2]
        data = images.encode_jpeg(part, quality=95)
        for found in service.recognition.recognize(data).faces:
            other = service.recognition.verify(data, data).faces[0].box
            for left, top, right, bottom in (found.box, found.to_dict()["box"].values(), other):
                assert 0 <= left < right <= width and 0 <= top < bottom <= height
            beyond += found.quality.cut_off > 0.02
    assert beyond


@pytest.mark.slow
def test_a_forced_photo_stays_enrolled_when_it_is_encoded_anew(service, plain_faces, tmp_path, models_dir):
    pixels, face = plain_faces["Obama"]
    for name in ("x.forced.jpg", "y.jpg"):
        place = tmp_path / "known" / "Obama" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(damaged("negative", 1 if name[0] == "x" else 0.95, pixels, face))
    made = make_service(
        Settings(known_faces=tmp_path / "known", state_dir=tmp_path / "s", models_dir=models_dir, watch=False, workers=1)
    )
    made.start()
    try:
        assert made.subjects.person("Obama").templates == 1
        (problem,) = made.subjects.problems()
        assert problem.path.endswith("y.jpg") and problem.code == "poor_photo" and "negative" in problem.message
    finally:
        made.close()


# -- measuring ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_prints_the_table(tmp_path, photos, models_dir):
    for file in ("biden.jpg", "obama.jpg", "obama2.jpg"):
        folder = tmp_path / "people" / file[:5]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(photos[file].read_bytes())
    settings = {f"{PREFIX}MODELS_DIR": str(models_dir), f"{PREFIX}STATE_DIR": str(tmp_path / "state")}
    report = tmp_path / "report.json"
    done = run_command(settings, "evaluate", "--degrade", tmp_path / "people", "--kinds", "negative", "--json", report)
    assert done.exit_code == 0 and "negative, 100%" in done.stdout and "not comparable" in done.stdout
    rows = json.loads(report.read_text())["degraded"]["rows"]
    assert [row["name"] for row in rows] == ["plain", "negative, 60%", "negative, 80%", "negative, 100%"]
    assert rows[0]["withheld"] == 0 and rows[0]["fnmr"] == 0 and rows[-1]["both"] == rows[-1]["one"] == 0
    with pytest.raises(InvalidParameter, match="expected kinds of turned"):
        list(degradations(["nagative"]))


def test_rates_are_those_of_a_brute_force_count(engine):
    random = np.random.default_rng(0)
    people = np.repeat(np.arange(8), 2)

    def faces(name, comparable):
        vectors = random.normal(0, 0.057, (16, engine.info.dim)).astype(np.float32)
        damage, factors = degrade.Damage(name, name, 0), degrade.RateFactors(*np.ones((3, 16)))
        return degrade.DamagedFaces(damage, people, np.ones(16, bool), comparable, vectors, factors)

    plain_ones, bad = faces("plain", np.ones(16, bool)), faces("bad", random.random(16) < 0.5)
    row = degrade.measure([plain_ones, bad], engine)[1]
    limit = engine.info.calibration.threshold
    near = total = 0
    for i in range(16):
        for j in range(16):
            if people[i] != people[j]:
                total += 1
                near += bool(bad.comparable[i] and np.linalg.norm(bad.vectors[i] - plain_ones.vectors[j]) <= limit)
    assert 0 < row["one"] == pytest.approx(near / total) and row["unanswered"] == pytest.approx(1 - bad.comparable.mean())
