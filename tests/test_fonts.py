"""Names in any script: drawn with a font that has their letters, or with question marks, never with empty boxes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from recognizer.photos import fonts
from recognizer.photos.annotate import draw
from recognizer.video.output import overlay

from .test_annotate import seen


@pytest.fixture(scope="module")
def dejavu(models_dir):
    return models_dir / "DejaVuSans.ttf"


@pytest.fixture
def system(monkeypatch, tmp_path):
    """A function that makes these the system's only fonts."""

    def only(*files):
        found = []
        for number, file in enumerate(files):
            found.append(tmp_path / f"{number}-{file.name}")
            shutil.copy(file, found[-1])
        monkeypatch.setattr(fonts, "system_fonts", lambda: tuple(found))
        fonts.font_with.cache_clear()
        return found

    yield only
    fonts.font_with.cache_clear()


@pytest.mark.parametrize(
    ("letter", "there"),
    [
        ("a", True),
        ("é", True),
        ("Ж", True),
        ("λ", True),
        ("م", True),
        ("א", True),
        ("李", False),
        ("김", False),
        ("ไ", False),
        ("\U0010fffd", False),
    ],
)
def test_which_letters_a_font_has(dejavu, letter, there):
    assert fonts.has(dejavu, letter) is there


@pytest.mark.parametrize("text", ["", " ", "Zoë O'Brien", "Ελένη", "Анна", "محمد بن سلمان", "a\u0301\u0302 x", "a\u200db"])
def test_what_the_font_has_is_drawn_with_it(dejavu, system, text):
    system()
    assert fonts.choose(text, dejavu) == (text, dejavu)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [("李小龍", "???"), ("李 Bruce", "? Bruce"), ("नरेन्द्र", "?????"), ("👩‍🚀 Eileen 🚀", "?? Eileen ?")],
)
def test_what_no_font_has_is_a_question_mark(dejavu, system, text, drawn):
    system(dejavu)
    assert fonts.choose(text, dejavu)[0] == drawn


def test_another_font_takes_over_where_it_has_more(dejavu, system):
    [other] = system(dejavu)
    assert fonts.choose("Анна", None) == ("Анна", other)  # Pillow's own has Latin letters only
    assert fonts.choose("Анна 李", None) == ("Анна ?", other)
    assert fonts.choose("Anna", None) == ("Anna", None)


def test_files_that_are_no_fonts_are_passed_over(dejavu, system, tmp_path):
    wrong = tmp_path / "wrong.ttf"
    wrong.write_bytes(b"no font")
    _, other = system(wrong, dejavu)
    assert fonts.choose("Анна", None) == ("Анна", other)


def test_the_systems_fonts_are_found_and_likely_ones_first(dejavu, tmp_path):
    for name in ("b/Other.ttf", "a/NotoSansCJK-Bold.ttc", "a/NotoSansCJK-Regular.ttc", "readme.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(dejavu, tmp_path / name)
    found = fonts.system_fonts.__wrapped__((str(tmp_path), str(tmp_path / "nowhere")))
    assert [path.name for path in found] == ["NotoSansCJK-Regular.ttc", "NotoSansCJK-Bold.ttc", "Other.ttf"]


def test_chinese_is_drawn_where_the_system_has_a_font_for_it(dejavu):
    text, font = fonts.choose("李小龍", dejavu)
    if font == dejavu:
        pytest.skip("no font of this system has Chinese letters")
    assert text == "李小龍"


def test_a_name_without_a_font_is_legible_as_such_on_a_photo(dejavu, system):
    system()
    grey = np.full((300, 300, 3), 120, np.uint8)
    box = (100, 100, 200, 200)
    assert np.array_equal(draw(grey, [seen(box, "李小龍")], dejavu), draw(grey, [seen(box, "???")], dejavu))


def test_live_video_and_its_cards_draw_no_empty_boxes_either(dejavu, system):
    system()
    overlay.legible_text.cache_clear()
    drawn = [overlay.text_sprite(dejavu, 20, (0, 90, 200), 300, text, "1 in 50,000") for text in ("李小龍", "???")]
    assert np.array_equal(*drawn)
    cards = [overlay.card(320, 180, f"No picture from {text}", f"{text} is lost", dejavu) for text in ("李小龍", "???")]
    assert np.array_equal(*cards)
    overlay.legible_text.cache_clear()


def test_arabic_is_joined_where_pillow_can(dejavu):
    if not fonts.shapes_all_scripts():
        pytest.skip("FriBiDi is not installed")
    from PIL import ImageFont

    font = ImageFont.truetype(str(dejavu), 40)
    lam, alef = "ل", "ا"
    assert font.getlength(lam + alef) < 0.9 * (font.getlength(lam) + font.getlength(alef))
