"""Drawing on real photos: what appears where, what stays untouched, and that any name and any size is drawn."""

import cv2
import numpy as np
import pytest
from PIL import Image as pillow
from PIL import ImageDraw

from recognizer.core.types import Box, Face, Match
from recognizer.photos import annotate, images
from recognizer.photos.annotate import FOUND, KNOWN, OBJECTS, POINT, UNKNOWN, draw, object_colour
from recognizer.photos.results import FoundObject, SeenFace

NAMES = {
    "latin": "Zoë O'Brien",
    "greek": "Ελένη Παπαδοπούλου",
    "cyrillic": "Анна Каренина",
    "arabic": "محمد بن سلمان",
    "emoji": "👩‍🚀 Eileen 🚀",
    "chinese": "李小龍",
    "combining": "a\u0301\u0302\u0303 x",
    "one letter": "i",
    "very long": "Wolfeschlegelsteinhausenbergerdorff " * 5,
    "200 bytes of wide letters": "W" * 200,
}


@pytest.fixture(scope="module")
def portrait(photos) -> np.ndarray:
    return images.decode(photos["astronaut.png"].read_bytes()).pixels


@pytest.fixture(scope="module")
def font(models_dir):
    return models_dir / "DejaVuSans.ttf"


def seen(box, subject=None, matched=True, points=None) -> SeenFace:
    face = Face(Box(*box), 0.9, np.zeros((5, 2), np.float32), "yunet5")
    return SeenFace(face, points, Match(subject, 0.5, 0.6) if matched else None)


def sized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def share(pixels: np.ndarray, colour) -> float:
    """Of a region, the share that has exactly this colour."""
    return float((pixels == colour).all(axis=-1).mean())


# --- nothing, and where things are -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1, 1), (64, 64), (512, 512)])
def test_without_faces_the_picture_is_as_it_was_but_another(portrait, width, height):
    before = sized(portrait, width, height)
    kept = before.copy()
    after = draw(before, [])
    assert np.array_equal(after, kept) and after is not before
    assert after.shape == before.shape and after.dtype == np.uint8


@pytest.mark.parametrize(
    ("subject", "matched", "colour"), [("Eileen", True, KNOWN), (None, True, UNKNOWN), (None, False, FOUND)]
)
def test_a_box_has_the_colour_of_what_is_known_on_all_four_edges(portrait, font, subject, matched, colour):
    before = portrait.copy()
    after = draw(portrait, [seen((170, 60, 270, 180), subject, matched)], font)
    assert np.array_equal(portrait, before)  # drawn on a copy
    for row, column in [(60, 220), (179, 180), (120, 170), (120, 269), (60, 170), (179, 269)]:
        assert tuple(after[row, column]) == colour
    inside = (slice(60 + 8, 180 - 30), slice(170 + 8, 270 - 8))
    assert np.array_equal(after[inside], before[inside])  # the face itself stays visible


@pytest.mark.parametrize(("subject", "colour"), [("Eileen Collins", KNOWN), (None, UNKNOWN)])
def test_the_label_stands_below_the_box_in_its_colour_with_white_letters(portrait, font, subject, colour):
    box = (170, 60, 270, 180)
    after = draw(portrait, [seen(box, subject)], font)
    label = after[181:195, 195:245]
    assert share(label, colour) > 0.3
    assert share(label, (255, 255, 255)) > 0.02


def test_a_face_that_nobody_compared_has_no_label(portrait, font):
    after = draw(portrait, [seen((170, 60, 270, 180), matched=False)], font)
    changed = (after != portrait).any(axis=-1)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert rows.min() >= 57 and rows.max() <= 183 and columns.min() >= 167 and columns.max() <= 273


def test_nothing_is_drawn_away_from_the_box_and_its_label(portrait, font):
    box = (170, 60, 270, 180)
    after = draw(portrait, [seen(box, "Eileen")], font)
    changed = (after != portrait).any(axis=-1)
    changed[55:215, 160:280] = False  # box, halo, and the line of the label below
    assert not changed.any()


def test_sixty_eight_points_are_marked_where_they_are(portrait, font):
    rng = np.random.default_rng(1)
    points = rng.uniform((180, 70), (260, 170), (68, 2)).astype(np.float32)
    after = draw(portrait, [seen((170, 60, 270, 180), "Eileen", points=points)], font)
    for x, y in points:
        assert share(after[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2], POINT) > 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_labels_of_neighbours_do_not_cover_each_other(portrait, font, count):
    """Faces side by side whose names are wider than they are: below, above, and inside the box."""
    canvas, name = sized(portrait, 600, 400), "Somebody with a name"
    boxes = [(200 + 45 * i, 100, 240 + 45 * i, 150) for i in range(count)]
    letters = {"none": draw(canvas, [seen(box, matched=False) for box in boxes], font)}
    letters["all"] = draw(canvas, [seen(box, name) for box in boxes], font)
    letters["one"] = draw(canvas, [seen(boxes[0], name), *(seen(box, matched=False) for box in boxes[1:])], font)
    area = {key: int(((each == KNOWN).all(axis=-1)).sum()) for key, each in letters.items()}
    assert area["all"] - area["none"] >= 0.9 * count * (area["one"] - area["none"])


def test_objects_have_their_own_colour_and_a_label(portrait, font):
    thing = FoundObject("dog", 0.873, Box(100, 200, 300, 400))
    after = draw(portrait, [], font, [thing])
    for row, column in [(200, 200), (399, 200), (300, 100), (300, 299)]:
        assert tuple(after[row, column]) == object_colour("dog")
    changed = (after != portrait).any(axis=-1)
    changed[170:405, 95:305] = False
    assert not changed.any()
    other = draw(portrait, [], font, [FoundObject("dog", 0.5, thing.box)])
    assert (other[170:197] != after[170:197]).any()  # the score is written as well


def test_faces_and_objects_share_the_places_for_labels(portrait, font):
    face, thing = seen((170, 60, 270, 180), "Eileen Collins"), FoundObject("person", 0.9, Box(165, 55, 275, 180))
    both = draw(portrait, [face], font, [thing])
    alone = draw(portrait, [face], font), draw(portrait, [], font, [thing])
    for colour, one in ((KNOWN, alone[0]), (object_colour("person"), alone[1])):
        assert share(both, colour) > 0.7 * share(one, colour)


@pytest.mark.parametrize("boxes", [[(0, 0, 512, 512)] * 3, [(100, 100, 400, 400), (110, 105, 400, 390), (105, 110, 390, 400)]])
def test_labels_of_objects_that_lie_across_each_other_do_not_cover_each_other(portrait, font, boxes):
    labels = ["person", "bottle", "tie"]
    taken: list = []
    brush = ImageDraw.Draw(pillow.fromarray(portrait))
    for box, label in zip(boxes, labels, strict=True):
        mark = annotate.object_mark(FoundObject(label, 0.7, Box(*box)))
        place = annotate.draw_label(brush, (512, 512), mark, font, taken)
        assert 0 <= place[0] < place[2] <= 512 and 0 <= place[1] < place[3] <= 512
        assert not any(annotate.areas_overlap(place, other) for other in taken)
        taken.append(place)


def test_white_letters_are_legible_on_every_colour():
    for colour in (KNOWN, UNKNOWN, FOUND, *OBJECTS):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG 2, level AA


# --- every size, every name, every place ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "height"), [(64, 64), (64, 300), (300, 64), (160, 120), (512, 512), (1920, 1080), (4000, 3000)]
)
def test_any_size_shows_box_and_label(portrait, font, width, height):
    canvas = sized(portrait, width, height)
    box = (0.3 * width, 0.2 * height, 0.7 * width, 0.6 * height)
    after = draw(canvas, [seen(box, "Eileen")], font)
    assert after.shape == canvas.shape
    changed = (after != canvas).any(axis=-1)
    top, left = round(box[1]), round(box[0])
    assert tuple(after[(top + round(box[3])) // 2, left]) == KNOWN
    line = annotate.line_width((width, height), Box(*box))
    assert 1 <= line <= max(width, height) / 200 + 1
    assert share(after, KNOWN) > 0.002 and share(after, (255, 255, 255)) > share(canvas, (255, 255, 255))
    assert changed.mean() < 0.6


@pytest.mark.parametrize("with_font", [True, False], ids=["with the font", "with Pillow's own"])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_any_name_is_drawn_within_the_picture(portrait, font, name, with_font):
    for width, height in ((64, 64), (640, 480)):
        canvas = sized(portrait, width, height)
        box = (0.3 * width, 0.2 * height, 0.6 * width, 0.6 * height)
        after = draw(canvas, [seen(box, name)], font if with_font else None)
        plain = draw(canvas, [seen(box, matched=False)], font)
        label = (after != plain).any(axis=-1) & (after == KNOWN).all(axis=-1)
        assert label.sum() > 30
        assert share(after, (255, 255, 255)) > share(canvas, (255, 255, 255))


@pytest.mark.parametrize("name", ["greek", "cyrillic", "arabic"])
def test_letters_of_other_scripts_are_letters_not_boxes(portrait, font, name):
    """Two names of one script differ on the picture, so they are not drawn as the same missing-letter sign."""
    box = (170, 60, 270, 180)
    whole = NAMES[name].replace(" ", "")
    one, other = (draw(portrait, [seen(box, whole[i : i + 3])], font) for i in (0, 3))
    assert (one != other).any(axis=-1).sum() > 20


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 100, 120),
        (-40, -50, 60, 70),
        (412, 392, 512, 512),
        (450, 450, 600, 650),
        (0, 200, 512, 300),
        (-50, -50, 600, 600),
        (0, 0, 512, 512),
        (-300, 100, -100, 300),
        (600, 600, 700, 700),
        (100.4, 100.6, 101.2, 101.1),
        (510.5, 510.5, 511.5, 511.5),
        (0.5, 0.25, 90.75, 110.125),
    ],
)
@pytest.mark.parametrize("subject", ["Eileen Collins", None])
def test_faces_at_and_beyond_the_border_are_drawn_with_their_whole_label(portrait, font, box, subject):
    after = draw(portrait, [seen(box, subject)], font)
    assert after.shape == portrait.shape
    inner = draw(portrait, [seen((170, 60, 170 + box[2] - box[0], 60 + box[3] - box[1]), subject)], font)
    assert share(after, KNOWN if subject else UNKNOWN) > 0
    assert (after == 255).all(axis=-1).sum() > (portrait == 255).all(axis=-1).sum()
    if box[2] - box[0] < 300 and max(box) <= 512 and box[2] > 0:  # the label is as large as in the middle of the picture
        white = [int((each == 255).all(axis=-1).sum() - (portrait == 255).all(axis=-1).sum()) for each in (after, inner)]
        assert white[0] > 0.25 * white[1]


def test_a_crowd_is_drawn(portrait, font):
    canvas = sized(portrait, 800, 600)
    faces = [
        seen((x, y, x + 18, y + 24), f"Person {x}-{y}" if (x + y) % 2 else None, points=None)
        for x in range(0, 800, 40)
        for y in range(0, 600, 50)
    ]
    after = draw(canvas, faces, font)
    assert share(after, KNOWN) > 0.01 or share(after, UNKNOWN) > 0.01


def test_the_order_of_the_faces_changes_no_box(portrait, font):
    faces = [seen((100, 50, 300, 300), "Big"), seen((150, 100, 200, 160), None)]
    for order in (faces, faces[::-1]):
        after = draw(portrait, order, font)
        assert tuple(after[100, 175]) == UNKNOWN and tuple(after[60, 100]) == KNOWN


def test_arrays_that_cannot_be_written_or_are_not_contiguous_are_drawn_alike(portrait, font):
    faces = [seen((170, 60, 270, 180), "Eileen")]
    expected = draw(portrait, faces, font)
    frozen = portrait.copy()
    frozen.flags.writeable = False
    mirrored = np.ascontiguousarray(portrait[:, ::-1])[:, ::-1]
    assert np.array_equal(draw(frozen, faces, font), expected)
    assert np.array_equal(draw(mirrored, faces, font), expected)


def test_what_is_drawn_becomes_a_jpeg(portrait, font):
    data = images.encode_jpeg(draw(portrait, [seen((170, 60, 270, 180), "Eileen")], font))
    back = images.decode(data)
    assert (back.width, back.height, back.format) == (512, 512, "jpeg")
