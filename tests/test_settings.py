"""Settings: how each is read, what it may be, and that the README shows them all."""

import dataclasses
import os
import re
from pathlib import Path

import pytest

from recognizer.errors import SettingsError
from recognizer.settings import PREFIX, SETTINGS, Settings, markdown_table

README = Path(__file__).resolve().parents[1] / "README.md"
NAMES = [item.name for item in SETTINGS]


def read(**environ: str) -> Settings:
    return Settings.from_environment({PREFIX + name.upper(): text for name, text in environ.items()})


def test_an_empty_environment_gives_the_defaults():
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"PATH": "/bin", "RECOGNIZERX": "1", "recognizer_host": "x"}) == Settings()


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_that_is_set_to_nothing_is_not_set(name):
    assert read(**{name: ""}) == read(**{name: "  "}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("known_faces", "/srv/people", Path("/srv/people")),
        ("known_faces", " /srv/people ", Path("/srv/people")),
        ("state_dir", "state", Path("state")),
        ("models_dir", "/srv/models", Path("/srv/models")),
        ("detector", "hog", "hog"),
        ("embedder", "dlib+sface", "dlib+sface"),
        ("detect_size", "0", 0),
        ("detect_size", "8192", 8192),
        ("min_face", "1", 1),
        ("stranger_rate", "1e-6", 1e-6),
        ("stranger_rate", "0.5", 0.5),
        ("threshold", "0", 0.0),
        ("threshold", "0.6", 0.6),
        ("object_threshold", "0.01", 0.01),
        ("object_threshold", "1", 1.0),
        ("max_image_bytes", "5_000_000", 5_000_000),
        ("fetch_allow", "192.168.1.0/24", ("192.168.1.0/24",)),
        ("fetch_allow", "192.168.1.7/24, ::1,10.0.0.1", ("192.168.1.0/24", "::1/128", "10.0.0.1/32")),
        ("fetch_allow", ",", ()),
        ("fetch_timeout", "2.5", 2.5),
        ("host", "0.0.0.0", "0.0.0.0"),
        ("camera", "rtsp://u:p@cam/1,2", "rtsp://u:p@cam/1,2"),
        ("camera_allow", "LAN, public,192.168.1.7/24", ("lan", "public", "192.168.1.0/24")),
        ("camera_allow", ",", ()),
        ("camera_files", "/srv/clips", Path("/srv/clips")),
        ("watch", "off", False),
        ("watch", "NO", False),
        ("watch", "0", False),
        ("watch_poll", "True", True),
        ("watch_poll", "yes", True),
        ("watch_poll", "1", True),
    ],
)
def test_values_are_read_in_their_type(name, text, value):
    settings = read(**{name: text})
    assert getattr(settings, name) == value and type(getattr(settings, name)) is type(value)
    assert settings == Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("detector", "mtcnn"),
        ("detector", "YUNET"),
        ("embedder", "dlib,sface"),
        ("detect_size", "-1"),
        ("detect_size", "8193"),
        ("detect_size", "640px"),
        ("detect_size", "6.4e2"),
        ("min_face", "0"),
        ("hog_upsample", "4"),
        ("stranger_rate", "0"),
        ("stranger_rate", "0.6"),
        ("stranger_rate", "nan"),
        ("stranger_rate", "1%"),
        ("threshold", "-0.1"),
        ("threshold", "nan"),
        ("threshold", "inf"),
        ("fetch_timeout", "nan"),
        ("fetch_timeout", "0"),
        ("max_image_bytes", "25MB"),
        ("workers", "257"),
        ("http_threads", "1"),
        ("fetch_allow", "example.org"),
        ("fetch_allow", "10.0.0.0/33"),
        ("fetch_allow", "lan"),
        ("camera_allow", "wan"),
        ("watch", "maybe"),
        ("watch_poll", "2"),
    ],
)
def test_values_that_cannot_be_used_are_refused_by_name(name, text):
    with pytest.raises(SettingsError) as caught:
        read(**{name: text})
    assert name in str(caught.value).lower() and "expected" in str(caught.value) or "cannot be used" in str(caught.value)


@pytest.mark.parametrize("item", SETTINGS, ids=NAMES)
def test_bounds_hold_for_programs_too(item):
    rule = item.metadata
    for bound, beyond in ((rule["least"], -1), (rule["most"], +1)):
        if bound is None:
            continue
        assert getattr(Settings(**{item.name: bound}), item.name) == bound
        with pytest.raises(SettingsError, match=f"{item.name}: expected at (least|most) "):
            Settings(**{item.name: bound + beyond})
    for choice in rule["choices"] or ():
        assert getattr(Settings(**{item.name: choice}), item.name) == choice
    assert rule["help"].endswith(".")


@pytest.mark.parametrize("name", ["WATHC", "TRESHOLD", "", "KNOWN-FACES", "watch"])
def test_a_variable_that_names_no_setting_is_refused(name):
    with pytest.raises(SettingsError, match=f"no such setting: {PREFIX}{name}"):
        Settings.from_environment({PREFIX + name: "1"})


def test_keywords_win_over_the_environment_and_none_is_no_keyword():
    environ = {"RECOGNIZER_HOST": "0.0.0.0", "RECOGNIZER_WORKERS": "3"}
    settings = Settings.from_environment(environ, workers=5, host=None)
    assert (settings.workers, settings.host) == (5, "0.0.0.0")


def test_a_bad_value_is_refused_even_where_a_keyword_wins():
    with pytest.raises(SettingsError, match="RECOGNIZER_WORKERS"):
        Settings.from_environment({"RECOGNIZER_WORKERS": "many"}, workers=5)


def test_the_process_environment_is_read_when_asked_not_at_import(monkeypatch):
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RECOGNIZER_WORKERS", "7")
    assert Settings.from_environment().workers == 7
    assert Settings().workers == 0


def test_settings_do_not_change_and_a_changed_copy_is_checked():
    settings = Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.workers = 2
    assert settings.replace(workers=2).workers == 2 and settings.workers == 0
    with pytest.raises(SettingsError):
        settings.replace(workers=-1)


def test_the_table_has_a_row_for_every_setting_and_no_path_of_this_machine():
    table = markdown_table()
    rows = table.splitlines()[2:]
    assert [re.match(r"\| `(RECOGNIZER_\w+)` \| \S.* \| \S.*\. \|$", row)[1] for row in rows] == [
        PREFIX + name.upper() for name in NAMES
    ]
    assert str(Path.home()) not in table


def test_the_readme_shows_the_table():
    if not README.is_file():
        pytest.skip("there is no README.md yet")
    found = re.search(r"<!-- settings -->\n+(.*?)\n*<!-- /settings -->", README.read_text("utf-8"), re.DOTALL)
    assert found, "README.md lacks the marks <!-- settings --> and <!-- /settings -->"
    assert found[1].strip() == markdown_table().strip(), "put recognizer.settings.markdown_table() between the marks"
