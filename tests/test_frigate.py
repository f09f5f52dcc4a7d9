"""Frigate's login and certificate, with a Frigate that is played: it answers what versions of Frigate answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest

from recognizer.core.errors import FetchFailed, SettingsError
from recognizer.core.settings import Settings
from recognizer.events import frigate as watching
from recognizer.events import frigate_login
from recognizer.events.double_take_topics import NamedFace
from recognizer.events.event_log import EventLog
from recognizer.events.frigate import Frigate, read_report
from recognizer.events.frigate_api import FrigateApi
from recognizer.events.frigate_login import FrigateRequests, FrigateUser
from recognizer.events.mqtt_broker import Broker
from recognizer.fetching.fetcher import Fetcher
from recognizer.service.delivering import frigate_api

from .brokers import FloodingBroker, free_port
from .frigates import RECORDED, PlayedFrigate, report
from .streams import wait_for

ADA = NamedFace("Ada Lovelace", 0.93, (100, 50, 200, 150))
USERS = {"recognizer": "a long password"}
JPEG = b"\xff\xd8\xff"


@pytest.fixture
def play() -> Iterator[Callable[..., PlayedFrigate]]:
    played: list[PlayedFrigate] = []

    def start(**how) -> PlayedFrigate:
        played.append(PlayedFrigate(**how))
        return played[-1]

    yield start
    for each in played:
        each.close()


def api_of(frigate: PlayedFrigate, user: str | None = "recognizer", password: str = USERS["recognizer"]) -> FrigateApi:
    who = None if user is None else FrigateUser(user, password)
    return FrigateApi(FrigateRequests(frigate.url, Fetcher(allow=["127.0.0.1"]), who))


@pytest.mark.parametrize("version", RECORDED)
def test_a_login_sets_sub_labels(play, version):
    frigate = play(version=version, users=USERS)
    api = api_of(frigate)
    api.check()
    assert api.snapshot(report("1.5-ada")["after"]).startswith(JPEG)
    api.set_label(report("1.5-ada")["after"], [ADA])
    assert frigate.labels == [
        ("/api/events/1.5-ada/sub_label", {"subLabel": "Ada Lovelace", "subLabelScore": 0.93, "camera": "door"})
    ]
    assert frigate.logins == [("recognizer", 200)]


@pytest.mark.parametrize("version", RECORDED)
def test_port_5000_needs_no_login(play, version):
    frigate = play(version=version)
    api = api_of(frigate, None)
    api.check()
    api.set_label(report("1.5-ada")["after"], [ADA])
    assert len(frigate.labels) == 1 and not frigate.logins


@pytest.mark.parametrize("version", RECORDED)
def test_a_login_that_frigate_refuses_is_said_and_not_repeated_at_once(play, version, monkeypatch):
    frigate = play(version=version, users=USERS)
    api = api_of(frigate, password="wrong")
    for _ in range(3):
        with pytest.raises(FetchFailed, match="login of recognizer: .*password is wrong") as raised:
            api.check()
        assert "wrong password" not in str(raised.value) and raised.value.details["status"] == 401
    assert frigate.logins == [("recognizer", 401)]
    monkeypatch.setattr(frigate_login, "RETRY_SECONDS", 0.0)
    again = api_of(frigate, "nobody")
    with pytest.raises(FetchFailed, match="nobody: there is no such user"):
        again.check()
    frigate.users["nobody"] = USERS["recognizer"]
    again.check()


@pytest.mark.parametrize("version", RECORDED)
def test_a_user_who_may_not_set_sub_labels(play, version):
    frigate = play(version=version, users={"viewer": "another password"})
    api = api_of(frigate, "viewer", "another password")
    with pytest.raises(FetchFailed, match="only the role admin set sub labels, and viewer has the role viewer"):
        api.check()
    with pytest.raises(FetchFailed, match="refuses this to viewer, who needs the role admin") as raised:
        api.set_label(report("1.5-ada")["after"], [ADA])
    assert raised.value.details["status"] == 403 and not frigate.labels


@pytest.mark.parametrize("version", RECORDED)
def test_a_login_is_missing(play, version):
    with pytest.raises(FetchFailed, match="asks for a login: set RECOGNIZER_FRIGATE_USER"):
        api_of(play(version=version, users=USERS), None).check()


@pytest.mark.parametrize("version", RECORDED)
def test_an_event_that_frigate_has_forgotten(play, version):
    with pytest.raises(FetchFailed) as raised:
        api_of(play(version=version), None).set_label(report("1.5-gone")["after"], [ADA])
    assert raised.value.details["status"] == 404


def test_a_login_is_repeated_when_frigate_refuses_it(play):
    frigate = play(users=USERS)
    api = api_of(frigate)
    api.check()
    frigate.tokens.clear()  # too old, or Frigate has a new secret
    api.set_label(report("1.5-ada")["after"], [ADA])
    api.check()
    assert len(frigate.labels) == 1 and len(frigate.logins) == 2
    frigate.tokens.clear()
    frigate.users.clear()  # the password was changed
    with pytest.raises(FetchFailed, match="password is wrong"):
        api.check()


def test_many_threads_log_in_once(play):
    frigate = play(users=USERS)
    api = api_of(frigate)
    threads = [threading.Thread(target=api.check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert frigate.logins == [("recognizer", 200)]


def test_a_cookie_that_is_refused_at_once_is_no_endless_loop(play):
    frigate = play(users=USERS)
    frigate.forgetful = True
    with pytest.raises(FetchFailed, match="accepts the login of recognizer, but then refuses the cookie"):
        api_of(frigate).check()
    assert len(frigate.logins) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "authentication is off"),
        (429, "too many logins"),
        (400, "expects https://"),
        (500, "status 500"),
    ],
)
def test_other_answers_to_a_login(play, status, words):
    frigate = play(users=USERS)
    frigate.login_status = status
    with pytest.raises(FetchFailed, match=words):
        api_of(frigate).check()


def test_a_login_without_a_cookie(play):
    frigate = play(users=USERS)
    frigate.cookie = None
    with pytest.raises(FetchFailed, match="sends no cookie"):
        api_of(frigate).check()


def test_a_frigate_that_is_away_is_asked_again_at_once(play):
    """No login was refused, so none has to wait."""
    frigate = play(users=USERS)
    api = api_of(frigate)
    frigate.close()
    for _ in range(2):
        with pytest.raises(FetchFailed, match="no connection|closed"):
            api.check()


def test_a_frigate_without_users_and_an_odd_profile(play):
    frigate = play()
    api = api_of(frigate, None)
    for profile in (b"{}", b"[]", b"no json", b'{"role": null}', b"[" * 100_000, None):  # before 0.14 there is none
        frigate.profile = profile
        api.check()


# -- settings ------------------------------------------------------------------------------------------------------------


def test_the_certificate_is_checked_as_the_settings_say(play, authority):
    frigate = play(users=USERS, certificate=authority / "server.pem")
    login = {"frigate_user": "recognizer", "frigate_password": USERS["recognizer"], "frigate_url": frigate.url}
    with pytest.raises(FetchFailed, match="certificate of 127.0.0.1 is not trusted"):
        frigate_api(Settings(**login)).check()
    assert not frigate.logins  # the password was sent to nobody
    frigate_api(Settings(**login, frigate_ca_file=authority / "ca.pem")).check()
    frigate_api(Settings(**login, frigate_verify=False)).check()
    assert len(frigate.logins) == 2


def test_settings_that_do_not_fit(tmp_path, authority):
    url = {"frigate_url": "https://frigate:8971"}
    (tmp_path / "text").write_text("secret\n")
    for settings, words in (
        ({"frigate_user": "ada"}, "frigate_user: frigate_password must be set"),
        ({"frigate_password": "secret"}, "frigate_password: frigate_user must be set"),
        ({"frigate_ca_file": authority / "ca.pem", "frigate_verify": False}, "frigate_verify must be on"),
        ({"frigate_ca_file": tmp_path / "missing"}, "frigate_ca_file: the file is missing"),
        ({"frigate_ca_file": tmp_path / "text"}, "frigate_ca_file: the file"),
        ({"frigate_url": "https://ada:secret@frigate"}, "frigate_url: .*without user names"),
    ):
        with pytest.raises(SettingsError, match=words) as raised:
            frigate_api(Settings(**{**url, **settings}))
        assert "secret" not in str(raised.value)


def test_the_password_is_not_shown():
    assert "secret" not in repr(FrigateUser("ada", "secret"))
    assert Settings(frigate_password="secret").shown("frigate_password") == "set"


# -- who follows ---------------------------------------------------------------------------------------------------------


def test_what_is_wrong_is_known_before_the_first_event(play, tmp_path, monkeypatch):
    monkeypatch.setattr(frigate_login, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(watching, "_CHECK_SECONDS", 0.0)
    frigate = play(users={})
    events = EventLog(tmp_path / "events")
    watch = Frigate(events, Broker("127.0.0.1", free_port()), api_of(frigate), lambda photo: [])
    watch.start()
    try:
        wait_for(lambda: "password is wrong" in (watch._problems["api"] or ""))
        assert watch.problem == "not connected yet"  # first of all the broker is missing
        frigate.users.update(USERS)
        wait_for(lambda: watch._problems["api"] is None)
    finally:
        watch.stop()
        events.close()


def test_a_broker_that_sends_more_than_was_asked_for_is_left_and_tried_again(play, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "_TOO_MUCH_SECONDS", 0.0)
    flooding, events = FloodingBroker(floods=2), EventLog(tmp_path / "events")
    watch = Frigate(events, Broker("127.0.0.1", flooding.port), api_of(play(users=USERS)), lambda photo: [])
    watch.start()
    try:
        wait_for(lambda: flooding.came == 3 and watch.problem is None)  # the third one is quiet
    finally:
        watch.stop()
        flooding.close()
        events.close()


@pytest.mark.parametrize("version", RECORDED)
def test_messages_as_frigate_sends_them(version):
    """Each is read; a sub label that was taken away is none."""
    messages = RECORDED[version]["reports"]
    assert {each["type"] for each in messages} == {"new", "update", "end"}
    labels = [each["after"]["sub_label"] for each in messages]
    assert None in labels and [None, None] in labels and any(label and label[0] == "Barack Obama" for label in labels)
    for each in messages:
        read = read_report(json.dumps(each).encode())
        assert read is not None and read["after"] == each["after"], each
        named = each["after"]["sub_label"] not in (None, [None, None])
        assert watching._has_other_name(read["after"]) is named, each
    ends = [each["after"]["has_snapshot"] for each in messages if each["type"] == "end"]
    assert True in ends and False in ends  # of a camera that keeps snapshots, and of one with Frigate's defaults
