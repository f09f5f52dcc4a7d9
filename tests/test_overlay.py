"""What is drawn on frames: where, in which colour, readable at every size; and the cards that stand in for a picture."""

from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, features

from recognizer.core.errors import InvalidParameter
from recognizer.core.types import Box, Face, Match
from recognizer.photos.annotate import FOUND, KNOWN, POINT, UNKNOWN, object_colour
from recognizer.photos.results import FoundObject, SeenFace
from recognizer.video.frames import Frame, FrameResult, TrackedFace
from recognizer.video.output import overlay
from recognizer.video.output.overlay import DARK, LAYERS, card, draw, parse_layers, sureness

SIZES = [(320, 240), (426, 240), (640, 480), (1280, 720), (1920, 1080), (3840, 2160), (240, 426)]
FACES = frozenset({"faces"})
EVERYTHING = frozenset(LAYERS)


@pytest.fixture(scope="module")
def font(models_dir):
    return models_dir / "DejaVuSans.ttf"


@cache
def _background(width: int, height: int) -> np.ndarray:
    across = np.linspace(90, 140, width)[None, :, None]
    return (across + np.linspace(0, 40, height)[:, None, None] * (0.2, 1.0, 0.5)).astype(np.uint8)


def background(width: int, height: int) -> np.ndarray:
    """Colours that nothing drawn has."""
    return _background(width, height).copy()


def face(box, subject=None, matched=True, track=1, rate=1e-4, ambiguous=False, points=None, five=None) -> TrackedFace:
    five = np.zeros((5, 2), np.float32) - 50 if five is None else five
    match = Match(subject, 0.5, 0.6, rate, (), ambiguous) if matched else None
    return TrackedFace(track, SeenFace(Face(Box(*box), 0.9, five, "yunet5"), points, match), True, 0.0)


def result(pixels, *faces, objects=(), time=1_700_000_000.0) -> FrameResult:
    return FrameResult(Frame(pixels, 1, time, 0.0), tuple(faces), tuple(objects))


def has_sprite(picture: np.ndarray, sprite: np.ndarray) -> tuple[int, int] | None:
    """x, y of where a picture shows exactly this sprite."""
    height, width = sprite.shape[:2]
    corners = picture[: picture.shape[0] - height + 1, : picture.shape[1] - width + 1]
    red, green, blue = (corners[..., channel] == sprite[0, 0, channel] for channel in range(3))
    rows, columns = np.nonzero(red & green & blue)
    for y, x in zip(rows, columns, strict=True):
        place = picture[y : y + height, x : x + width]
        if np.array_equal(place[0], sprite[0]) and np.array_equal(place, sprite):
            return int(x), int(y)
    return None


def sprite(font, size, colour, text, under="") -> np.ndarray:
    return overlay.text_sprite(font, overlay.letter_size(size), colour, size[0], text, under)


# -- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [frozenset(), FACES, EVERYTHING - {"clock"}])
@pytest.mark.parametrize("size", [(1, 1), (16, 9), (640, 480)])
def test_where_nothing_was_found_the_frame_is_as_it_came_but_another(font, size, layers):
    pixels = background(*size)
    pixels.setflags(write=False)  # others read it
    picture = draw(result(pixels), layers=layers, font=font)
    assert np.array_equal(picture, pixels) and not np.shares_memory(picture, pixels)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("subject", "matched", "colour"), [("Ada", True, KNOWN), (None, True, UNKNOWN), (None, False, FOUND)])
def test_a_box_lies_where_the_face_is_in_the_colour_of_what_is_known(font, size, subject, matched, colour):
    width, height = size
    box = (round(0.3 * width), round(0.2 * height), round(0.6 * width), round(0.6 * height))
    pixels = background(*size)
    picture = draw(result(pixels, face(box, subject, matched)), layers=FACES, font=font)
    left, top, right, bottom = box
    across, down = slice(left, right), slice(top, bottom)
    edges = ((top, across), (bottom - 1, across), (down, left), (down, right - 1))
    for edge in edges:
        assert (picture[edge] == colour).all()
    assert (picture[top - 1, left:right] == 255).all() and (picture[top:bottom, right] == 255).all(), "a white line around it"
    inside = (slice(top + height // 8, bottom - height // 8), slice(left + width // 20, right - width // 20))
    assert np.array_equal(picture[inside], pixels[inside])
    assert np.array_equal(picture[: top // 2], pixels[: top // 2])


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["Zoë O'Brien", "Ελένη Παπαδοπούλου", "Анна Каренина", "Nguyễn Thị Ánh"])
def test_a_name_is_readable_and_how_sure_it_is_stands_below(font, size, name):
    width, height = size
    box = (0.35 * width, 0.2 * height, 0.65 * width, 0.6 * height)
    picture = draw(result(background(*size), face(box, name, rate=1.4e-5)), layers=FACES, font=font)
    label = sprite(font, size, KNOWN, name, "1 in 50,000")
    assert has_sprite(picture, label)
    letters = overlay.letter_size(size)
    assert letters >= 12 and letters >= max(size) / 70
    share = (label > 200).all(-1).mean()
    assert 0.05 < share < 0.6, "white letters on the colour"
    assert not np.array_equal(label, sprite(font, size, KNOWN, name[::-1], "1 in 50,000"))


@pytest.mark.parametrize(
    ("seen", "colour", "text"),
    [
        (face((100, 100, 200, 200)), UNKNOWN, "unknown"),
        (face((100, 100, 200, 200), matched=False), FOUND, "…"),
        (face((100, 100, 200, 200), "Ada", rate=None), KNOWN, "Ada"),
        (face((100, 100, 200, 200), "Ada", rate=None, ambiguous=True), KNOWN, "Ada ?"),
    ],
)
def test_what_is_not_sure_is_said(font, seen, colour, text):
    picture = draw(result(background(640, 480), seen), layers=FACES, font=font)
    assert has_sprite(picture, sprite(font, (640, 480), colour, text))


def test_labels_of_faces_side_by_side_do_not_cover_each_other(font):
    faces = [face((100 + 60 * n, 100, 150 + 60 * n, 160), f"Person {n}", track=n, rate=None) for n in range(3)]
    picture = draw(result(background(640, 480), *faces), layers=FACES, font=font)
    for n in range(3):
        assert has_sprite(picture, sprite(font, (640, 480), KNOWN, f"Person {n}")), n


@pytest.mark.parametrize(
    "box",
    [(-50, -40, 60, 60), (600, 440, 700, 500), (-500, -500, -400, -400), (900, 900, 950, 950), (0, 0, 640, 480), (5, 5, 6, 6)],
)
def test_a_face_partly_or_wholly_outside_is_no_trouble(font, box):
    points = np.random.default_rng(1).uniform(-100, 900, (68, 2)).astype(np.float32)
    found = FoundObject("person", 0.9, Box(*box))
    seen = face(box, "Ada", points=points)
    picture = draw(result(background(640, 480), seen, objects=[found]), layers=EVERYTHING, font=font, fps=25.0)
    assert picture.shape == (480, 640, 3)


def test_a_name_longer_than_the_picture_is_shortened(font):
    picture = draw(result(background(320, 240), face((100, 80, 200, 180), "W" * 200)), layers=FACES, font=font)
    label = sprite(font, (320, 240), KNOWN, "W" * 200, "1 in 10,000")
    assert label.shape[1] <= 320 and has_sprite(picture, label)


@pytest.mark.skipif(not features.check("raqm") or not features.check("fribidi"), reason="this Pillow has no FriBiDi")
def test_right_to_left_names_are_drawn_from_right_to_left(font):
    def in_file_order(text) -> np.ndarray:
        """How much ink each column has, drawn letter by letter from left to right."""
        letters = ImageFont.truetype(str(font), 40, layout_engine=ImageFont.Layout.BASIC)
        picture = Image.new("L", (400, 80))
        ImageDraw.Draw(picture).text((10, 10), text, font=letters, fill=255)
        return ink(np.asarray(picture) / 255)

    def ink(picture) -> np.ndarray:
        columns = picture.sum(axis=0)
        there = np.flatnonzero(columns)
        return columns[there[0] : there[-1] + 1]

    name = "אבגלום"
    label = overlay.render_sprite(font, font, 40, KNOWN, 1000, name, "")
    drawn = ink((label[..., 0].astype(float) - KNOWN[0]) / (255 - KNOWN[0]))
    like = [np.corrcoef(drawn[:100], in_file_order(text)[:100])[0, 1] for text in (name[::-1], name)]
    assert like[0] > 0.9 > like[1]


# -- the other layers ------------------------------------------------------------------------------------------------


def test_layers_are_drawn_only_when_asked_for(font):
    points = np.full((68, 2), 300, np.float32)
    seen, found = face((100, 100, 200, 200), "Ada", points=points), FoundObject("cup", 0.5, Box(400, 100, 500, 200))
    shown = {
        layer: draw(result(background(640, 480), seen, objects=[found]), layers=frozenset({layer}), font=font, fps=25.0)
        for layer in LAYERS
    }
    plain = background(640, 480)
    where = {layer: np.argwhere((picture != plain).any(-1)) for layer, picture in shown.items()}
    assert where["clock"][:, 0].max() < 30 and where["clock"][:, 1].min() == 0
    assert where["fps"][:, 0].max() < 30 and where["fps"][:, 1].max() == 639
    assert where["objects"][:, 1].min() >= 397 and where["faces"][:, 1].max() < 300
    assert np.abs(where["landmarks68"] - 300).max() < 6
    assert len(where["landmarks"]) == 0, "its five points are outside"


@pytest.mark.parametrize("scale", [1, 6])
def test_five_and_68_points_lie_where_they_are(font, scale):
    five = np.array([(40, 40), (60, 40), (50, 50), (42, 60), (58, 60)], np.float32) * scale
    many = np.stack([np.linspace(20, 80, 68), np.linspace(25, 75, 68)], axis=1).astype(np.float32) * scale
    seen = face((0, 0, 100 * scale, 100 * scale), points=many, five=five)
    pixels = background(100 * scale, 100 * scale)
    for layers, points in ((frozenset({"landmarks"}), five), (frozenset({"landmarks68"}), many)):
        picture = draw(result(pixels, seen), layers=layers, font=font)
        for x, y in points:
            assert np.abs(picture[round(float(y)), round(float(x))].astype(int) - POINT).max() < 40


def test_where_68_points_are_missing_five_are_shown(font):
    five = np.full((5, 2), 50, np.float32)
    picture = draw(result(background(100, 100), face((0, 0, 99, 99), five=five)), layers=frozenset({"landmarks68"}), font=font)
    assert (picture[50, 50] == POINT).all()


def test_an_object_has_a_box_its_label_and_its_score(font):
    found = FoundObject("potted plant", 0.876, Box(300, 150, 500, 400))
    picture = draw(result(background(640, 480), objects=[found]), layers=frozenset({"objects"}), font=font)
    colour = object_colour("potted plant")
    assert (picture[150:400, 499] == colour).all()
    label, score = (sprite(font, (640, 480), colour, text) for text in ("potted plant", "0.88"))
    top = 150 - label.shape[0]
    assert has_sprite(picture, label) == (300, top)
    assert has_sprite(picture, score) == (300 + label.shape[1], top)


def test_the_clock_shows_the_frame_or_what_it_is_told(font, monkeypatch):
    import time

    pixels = background(640, 480)
    frame = draw(result(pixels, time=1_700_000_000.0), layers=frozenset({"clock"}), font=font)
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_700_000_000))
    assert has_sprite(frame, sprite(font, (640, 480), DARK, shown)) == (0, 0)
    later = draw(result(pixels, time=1_700_000_000.0), layers=frozenset({"clock"}), font=font, clock=1_700_000_060)
    assert not np.array_equal(frame, later)


@pytest.mark.parametrize(("fps", "text"), [(29.97, "30 fps"), (9.96, "10 fps"), (7.53, "7.5 fps"), (0.4, "0.4 fps")])
def test_the_frame_rate(font, fps, text):
    picture = draw(result(background(640, 480)), layers=frozenset({"fps"}), font=font, fps=fps)
    assert has_sprite(picture, sprite(font, (640, 480), DARK, text))


# -- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "size"), [(320, (320, 180)), (641, (641, 361)), (1280, (1280, 720)), (4000, (1280, 720))])
def test_a_width_scales_down_and_never_up(font, width, size):
    seen = face((320, 180, 640, 540), "Ada")
    picture = draw(result(background(1280, 720), seen), layers=FACES, font=font, width=width)
    assert picture.shape[1::-1] == size
    left, top, right, bottom = (round(edge * size[0] / 1280) for edge in (320, 180, 640, 540))
    assert (picture[top, left:right] == KNOWN).all() and (picture[top:bottom, right - 1] == KNOWN).all()
    assert has_sprite(picture, sprite(font, size, KNOWN, "Ada", "1 in 10,000"))


def test_rendered_labels_are_kept_up_to_a_bound(font):
    kept = overlay.SpriteCache(100_000)
    for n in range(50):
        first = kept.get(n, lambda: np.zeros((10, 300, 3), np.uint8))
        assert kept.get(n, lambda: pytest.fail("it was there")) is first
    assert kept.size_bytes == 9000 * len(kept) <= 100_000 < 9000 * (len(kept) + 1)
    huge = kept.get("huge", lambda: np.zeros((1000, 300, 3), np.uint8))
    assert kept.get("huge", lambda: pytest.fail("it was there")) is huge and len(kept) == 1


# -- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (None, ""),
        (1.0, ""),
        (0.6, ""),
        (0.5, "1 in 2"),
        (0.1, "1 in 10"),
        (0.03, "1 in 20"),
        (1e-3, "1 in 1,000"),
        (2.1e-5, "1 in 20,000"),
        (1.9e-6, "1 in 500,000"),
        (1e-6, "1 in 1,000,000+"),
        (1e-12, "1 in 1,000,000+"),
        (0.0, "1 in 1,000,000+"),
    ],
)
def test_how_sure_a_name_is(rate, text):
    assert sureness(Match("Ada", 0.5, 0.6, rate)) == text


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("none", set()),
        ("faces", {"faces"}),
        ("faces,clock", {"faces", "clock"}),
        (" fps , fps", {"fps"}),
        (",".join(LAYERS), set(LAYERS)),
    ],
)
def test_layers_are_read(text, layers):
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["face", "faces,", ",", "faces;clock", "none,faces", "FACES", "landmarks5", "x" * 10_000])
def test_what_is_no_layer_is_refused(text):
    with pytest.raises(InvalidParameter, match="overlay: expected"):
        parse_layers(text)


# -- cards -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [*SIZES, (16, 9), (1, 1)])
def test_a_card_says_what_is_wrong(font, size):
    title, reason = "No picture from the front door", "The camera closed the connection; trying again in 4 s."
    shown = card(*size, title, reason, font)
    assert shown.shape == (size[1], size[0], 3) and shown.dtype == np.uint8
    if min(size) > 100:
        letters = (shown > 120).all(-1)
        assert 0.004 < letters.mean() < 0.2
        assert not letters[:, : size[0] // 40].any() and not letters[:, -size[0] // 40 :].any(), "nothing runs out of it"
        assert not np.array_equal(shown, card(*size, title, "Another reason.", font))


def test_a_card_shows_that_time_goes_on(font):
    one, two = (card(640, 480, "Lost", "No route.", font, clock=clock) for clock in (1e9, 1e9 + 1))
    assert not np.array_equal(one, two) and np.array_equal(one[60:], two[60:])


def test_a_very_long_reason_stays_on_the_card(font):
    shown = card(640, 360, "W" * 300, "word " * 500, font)
    letters = (shown > 120).all(-1)
    assert not letters[:5].any() and not letters[-5:].any() and not letters[:, :10].any() and not letters[:, -10:].any()
