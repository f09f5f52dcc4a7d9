"""Settings: how each is read, what it may be, and that docs/settings.md shows them all."""

import dataclasses
import os
import re
from pathlib import Path

import pytest

from recognizer.core import settings as settings_module
from recognizer.core.errors import SettingsError
from recognizer.core.settings import PREFIX, SETTINGS, Settings, markdown_table
from recognizer.http.site import Site

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
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
    assert name in str(caught.value).lower() and "expected" in str(caught.value) or "is not valid" in str(caught.value)


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


def test_the_page_of_settings_shows_the_table():
    found = re.search(r"<!-- settings -->\n+(.*?)\n*<!-- /settings -->", PAGE.read_text("utf-8"), re.DOTALL)
    assert found, "docs/settings.md lacks the marks <!-- settings --> and <!-- /settings -->"
    assert found[1].strip() == markdown_table().strip(), "put recognizer.core.settings.markdown_table() between the marks"


# -- settings that have an effect only with others ----------------------------------------------------------------------

#: A value of each that has an effect.
GIVEN = {
    "photos": "s3://bucket/faces",
    "database_url": "postgresql://db/faces",
    "dropped_seconds": 5.0,
    "dropped_queue": "https://sqs.eu-west-1.amazonaws.com/1/photos",
    "hog_upsample": 2,
    "detector": "hog",
    "strip_metadata": "all",
    "attributes": ("age",),
    "webhooks": ("http://receiver.example/",),
    "events_key": "person",
    "kafka_sasl": "SCRAM-SHA-256",
}
#: Settings that look as if they needed another one, and why they are not in the table.
ALONE = {
    "node_cameras": "its value other than the default is off",
    "frigate_verify": "its value other than the default is off",
    "threshold": "names the setting that it replaces",
    "http_threads": "names a number to compare with",
    "streams": "names what it is not",
    **dict.fromkeys(("tls_certificate", "tls_key", "tls_key_password", "tls_client_ca"), "the certificate is required"),
    **dict.fromkeys((name for name in NAMES if name.startswith(("webhook_", "mqtt_"))), "the other may be set on the page"),
}


def given(name: str):
    item = next(item for item in SETTINGS if item.name == name)
    if name in GIVEN:
        return GIVEN[name]
    if isinstance(item.default, bool):
        return True
    return item.default + 1 if isinstance(item.default, float) else Path("file") if "Path" in item.type else "http://host:1"


def with_all_needed(name: str) -> dict:
    """The setting, with those that it needs, and what these need."""
    values = {name: given(name)}
    if name == "database_url":
        values["photos"] = given("photos")
    for need in settings_module.ONLY_WITH.get(name, ()):
        values |= with_all_needed(re.split("[|=]", need)[0])
    return values


def test_the_defaults_are_all_in_effect():
    assert Settings().without_effect() == []


@pytest.mark.parametrize("name", settings_module.ONLY_WITH)
def test_a_setting_that_has_no_effect_without_another_says_so(name):
    values = with_all_needed(name)
    assert len(values) > 1 and Settings(**values).without_effect() == []
    for need in settings_module.ONLY_WITH[name]:
        other = re.split("[|=]", need)[0]
        default = settings_module.default_of(other)
        without = {each: value for each, value in values.items() if each != other} | (
            {other: type(default)(0)} if isinstance(default, (bool, float)) else {}
        )
        if "database_url" in without and "photos" not in without:
            del without["database_url"]
        sentences = [
            sentence for sentence in Settings(**without).without_effect() if sentence.startswith(PREFIX + name.upper())
        ]
        assert len(sentences) == 1 and re.search(rf"has no effect: .*\b{PREFIX}{other.upper()}\b.* is (not|off)", sentences[0])


def test_frigate_has_an_effect_without_events():
    """`POST /api/recognize` of the dialect double-take asks it for the pictures, and names them there."""
    needed = {"frigate_url": "http://frigate:5000", "frigate_user": "ada", "frigate_password": "secret"}
    assert Settings(**needed, events=False).without_effect() == []


def test_every_setting_that_seems_to_need_another_is_in_the_table():
    """Those whose text names another one, or whose name begins as that of an address."""
    families = {name.removesuffix("_url") for name in NAMES if name.endswith("_url")} | {"tls", "webhook", "mqtt"}
    for item in SETTINGS:
        names_others = set(re.findall(rf"{PREFIX}(\w+)", item.metadata["help"])) - {item.name.upper()}
        in_family = item.name.split("_")[0] in families and not item.name.endswith("_url")
        if names_others or in_family:
            assert (item.name in settings_module.ONLY_WITH) != (item.name in ALONE), item.name


def test_where_it_was_given_is_said(config):
    config.write_text("nats_stream = 'faces'\n")
    settings = read(config=str(config), dropped_queue=GIVEN["dropped_queue"])
    assert settings.without_effect() == [
        "RECOGNIZER_DROPPED_QUEUE has no effect: RECOGNIZER_PHOTOS is not set",
        f"nats_stream in {config.name} has no effect: RECOGNIZER_NATS_URL is not set",
    ]


def test_a_server_logs_it_when_it_starts(tmp_path, monkeypatch, caplog):
    site = Site(Settings(known_faces=tmp_path / "people", state_dir=tmp_path / "state", dropped_queue=GIVEN["dropped_queue"]))
    monkeypatch.setattr(site, "load", lambda: None)
    site.load_or_end()
    assert "RECOGNIZER_DROPPED_QUEUE has no effect: RECOGNIZER_PHOTOS is not set" in caplog.messages


# -- files: the config, and secrets --------------------------------------------------------------------------------

KEY = "a-key-for-the-admin-of-this-0123"


@pytest.fixture
def config(tmp_path) -> Path:
    return tmp_path / "recognizer.toml"


@pytest.mark.parametrize(
    ("toml", "name", "value"),
    [
        ("workers = 3", "workers", 3),
        ('workers = "3"', "workers", 3),
        ("stranger_rate = 0.1", "stranger_rate", 0.1),
        ("watch = false", "watch", False),
        ('watch = "off"', "watch", False),
        ('fetch_allow = ["10.0.0.0/8", "::1"]', "fetch_allow", ("10.0.0.0/8", "::1/128")),
        ('fetch_allow = "10.0.0.0/8,::1"', "fetch_allow", ("10.0.0.0/8", "::1/128")),
        ('known_faces = "/srv/Jos\u00e9"', "known_faces", Path("/srv/José")),
        (f'admin_key = "{KEY}"', "admin_key", KEY),
        ('cors = ["https://A.example:443", "http://b"]', "cors", ("https://a.example", "http://b")),
        ('allowed_hosts = ["Faces.LAN"]', "allowed_hosts", ("faces.lan",)),
        ('trusted_proxies = ["unix", "10.0.0.1"]', "trusted_proxies", ("unix", "10.0.0.1/32")),
        ('rate_key = "5/second"', "rate_key", "5/second"),
        ('host = ""', "host", "127.0.0.1"),
    ],
)
def test_settings_may_stand_in_a_toml_file(config, toml, name, value):
    config.write_text(toml + "\n", "utf-8")
    assert getattr(read(config=str(config)), name) == value


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("wrkers = 3", "no such setting in recognizer.toml: wrkers"),
        ('config = "other.toml"', "no such setting in recognizer.toml: config"),
        ("WORKERS = 3", "no such setting"),
        ("[server]\nworkers = 3", "no such setting in recognizer.toml: server"),
        ("workers = many", "cannot be read as TOML"),
        ('workers = "many"', "workers in recognizer.toml: 'many' is not valid"),
        ("workers = [1]", "workers in recognizer.toml: expected a string"),
        ("workers = 2024-01-01", "expected a string"),
        ("workers = -1", "workers: expected at least 0"),
        ('cors = ["*"]', "expected an origin"),
        ('rate_key = "5 a day"', "expected a number per second"),
        ('admin_key = "short-and-secret"', "admin_key in recognizer.toml: its value is not valid"),
        ('tls_key = "x.pem"', "tls_certificate must be set as well"),
    ],
)
def test_a_toml_file_that_cannot_be_used(config, toml, message):
    config.write_text(toml + "\n", "utf-8")
    with pytest.raises(SettingsError) as caught:
        read(config=str(config))
    assert message in caught.value.message and "short-and-secret" not in caught.value.message


def test_a_config_that_is_no_file(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    for path in (tmp_path / "nothing.toml", tmp_path, tmp_path / "binary"):
        with pytest.raises(SettingsError, match="RECOGNIZER_CONFIG: the file it names cannot be read"):
            read(config=str(path))


def test_the_first_that_says_something_wins(tmp_path, config):
    config.write_text(f'workers = 3\nqueue = 4\nadmin_key = "{KEY}-config"\n')
    secret = tmp_path / "secret"
    secret.write_text(f"{KEY}-file\n")
    environ = {"RECOGNIZER_CONFIG": str(config), "RECOGNIZER_WORKERS": "5"}
    settings = Settings.from_environment(environ, detect_size=320)
    assert (settings.workers, settings.queue, settings.admin_key, settings.detect_size) == (5, 4, f"{KEY}-config", 320)
    environ["RECOGNIZER_ADMIN_KEY_FILE"] = str(secret)
    assert Settings.from_environment(environ).admin_key == f"{KEY}-file"
    where = {name: found.where for name, found in settings_module.read_values(environ).items()}
    assert where == {"config": "environment", "workers": "environment", "queue": "config", "admin_key": "file"}
    environ["RECOGNIZER_ADMIN_KEY"] = KEY
    with pytest.raises(SettingsError, match="got both"):
        Settings.from_environment(environ)


def test_a_secrets_file_that_cannot_be_used(tmp_path):
    empty = tmp_path / "empty"
    empty.write_text(" \n")
    for path, message in ((tmp_path / "nothing", "cannot be read"), (empty, "empty")):
        with pytest.raises(SettingsError, match=f"RECOGNIZER_ADMIN_KEY_FILE: .*{message}"):
            read(admin_key_file=str(path))
    with pytest.raises(SettingsError, match="no such setting"):
        read(workers_file=str(empty))


def test_secrets_are_in_no_message_and_no_representation(tmp_path):
    for name in (item.name for item in SETTINGS if item.metadata["secret"]):
        assert f" {name}=" not in repr(Settings())
    settings = read(admin_key=KEY)
    assert KEY not in repr(settings) and KEY not in str(settings)
    assert KEY not in repr(settings_module.read_values({"RECOGNIZER_ADMIN_KEY": KEY}))
    for wrong in ("short-secret", KEY + " with-spaces", KEY + "\u00e9"):
        with pytest.raises(SettingsError) as caught:
            read(admin_key=wrong)
        assert wrong not in str(caught.value) and caught.value.__cause__ is None
    assert "RECOGNIZER_ADMIN_KEY_FILE" in markdown_table()


def test_of_a_folder_of_photos_only_the_last_part_is_shown(tmp_path):
    given = {"database_url": "postgresql://recognizer@127.0.0.1/x", "photos": str(tmp_path / "faces")}
    assert Settings(**given).shown("photos") == ".../faces"
    assert Settings(**{**given, "photos": "s3://faces/photos"}).shown("photos") == "s3://faces/photos"
