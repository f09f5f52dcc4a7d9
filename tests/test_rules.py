"""Rules: what they are about, what they do to real receivers, how often, and what is stored of people in them."""

from __future__ import annotations

import base64
import json
import shutil
import stat
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recognizer.backup import reseal
from recognizer.core.catalogues import LANGUAGES, MESSAGES, translated
from recognizer.core.errors import (
    ActionFailed,
    ActionOff,
    CameraNotFound,
    GroupNotFound,
    InvalidParameter,
    KeyMissing,
    RuleNotFound,
    StorageError,
    SubjectNotFound,
    TooManyRules,
)
from recognizer.core.settings import Settings
from recognizer.core.vault import Vault, new_key
from recognizer.events.appearances import iso
from recognizer.events.event_hub import Events
from recognizer.events.event_log import EventLog
from recognizer.events.mqtt_broker import Broker as BrokerAddress
from recognizer.fetching.fetcher import Fetcher
from recognizer.rules import rule_actions, rule_store
from recognizer.rules.apprise_process import harmless
from recognizer.rules.rule_actions import RuleActions, RuleTools
from recognizer.rules.rule_delivery import RuleDelivery
from recognizer.rules.rule_file import RuleFile
from recognizer.rules.rule_model import Rule, changed_rule, make_rule, renamed, shown, without
from recognizer.service.rule_service import KeptRules
from recognizer.video.camera_settings import PLAIN, CameraSettings, parse_settings, renamed_zones

from .brokers import MISSING, MOSQUITTO, Broker, Listener
from .receivers import Receiver
from .streams import wait_for
from .test_erasures import service  # noqa: F401, a fixture

needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)
HOOK = {"action": "webhook", "url": "https://example.org/hook?token=hidden"}
#: Thursday, 2026-11-19, 22:30 UTC.
NIGHT = 1795127400.0


def event(number: int = 1, subject: str | None = "Ada", kind: str = "appeared", moment: float | None = None, **more) -> dict:
    kind = "unknown" if subject is None and kind == "appeared" else kind
    moment = time.time() if moment is None else moment
    shown = {"id": number, "kind": kind, "camera": "door", "time": iso(moment), "subject": subject, "false_match_rate": 1e-4}
    return {**shown, "thumbnail": None, **more}


def rule(**given) -> Rule:
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return make_rule("0123456789", {**HOOK, **given})


def concerns(made: Rule, found: dict) -> bool:
    return made.concerns(found, found.get("false_match_rate"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_message_is_in_the_rules_language_also_about_somebody_unknown(language):
    made = make_rule("01", {"action": "notify", "url": "ntfy://x", "language": language, "timezone": "UTC"})
    told = made.notification(event(subject=None, moment=NIGHT), "Front door")
    assert "Front door" in told and "22:30" in told and ("unknown" in told) == (language == "en") and "{" not in told
    assert "Ada" in made.notification(event(moment=NIGHT), "Front door")
    own = changed_rule(made, {"message": "{who}!"})
    assert own.notification(event(subject=None), "x") == translated("Somebody unknown", language) + "!"
    assert all(translated(text, language) != text for text in MESSAGES if language != "en")
    assert changed_rule(made, {"action": "webhook", "url": "https://example.org/"}).language == "en"  # it has no message
    with pytest.raises(InvalidParameter, match="language: expected one of en, de"):
        changed_rule(made, {"language": "tlh"})


# -- what a rule is about ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "subjects"),
    [
        ({"who": "anybody"}, {"Ada", "Bob", "staff/Ada", None}),
        ({"who": "known"}, {"Ada", "Bob", "staff/Ada"}),
        ({"who": "unknown"}, {None}),
        ({"who": "people", "people": ["Ada"]}, {"Ada"}),
        ({"who": "people", "people": ["Ada"], "group": "staff"}, {"staff/Ada"}),
        ({"who": "group"}, {"Ada", "Bob"}),
        ({"who": "group", "group": "staff"}, {"staff/Ada"}),
    ],
)
def test_whom_a_rule_is_about(given, subjects):
    made = rule(**given)
    assert {each for each in ("Ada", "Bob", "staff/Ada", None) if concerns(made, event(subject=each))} == subjects


def test_where_and_what_a_rule_is_about():
    comes, leaves = rule(cameras=["door", "yard"]), rule(kind="leaves")
    assert concerns(comes, event()) and not concerns(comes, event(camera="attic")) and not concerns(comes, event(kind="left"))
    assert concerns(leaves, event(kind="left")) and not concerns(leaves, event())
    assert not concerns(leaves, event(kind="left", subject=None, same_as=3))  # nobody left: a track got a name
    assert not concerns(comes, event(kind="camera_lost", subject=None))


def test_in_which_zones_of_a_camera_a_rule_holds():
    made = rule(cameras=["door", "yard"], zones=["door/Porch", "door/steps, left"])
    assert concerns(made, event(zones=["drive", "porch"])) and concerns(made, event(zones=["steps, left"]))
    assert not concerns(made, event(zones=["drive"])) and not concerns(made, event())
    assert concerns(made, event(camera="yard")) and not concerns(made, event(camera="attic", zones=["porch"]))
    # who came to the camera elsewhere and then enters the zone has come there; without zones that is no news
    assert concerns(made, event(kind="entered", zones=["porch"])) and not concerns(made, event(kind="entered", zones=["drive"]))
    assert not concerns(made, event(kind="entered", camera="yard", zones=["gate"]))
    assert not concerns(rule(), event(kind="entered", zones=["porch"]))
    leaves = rule(kind="leaves", zones=["door/porch"])
    assert concerns(leaves, event(kind="left", zones=["drive", "porch"])) and not concerns(leaves, event(kind="entered"))
    assert not concerns(leaves, event(kind="left", zones=["drive"]))


def test_zones_bring_their_cameras_and_never_contradict_them():
    made = rule(zones=["door/porch", "door/steps", "yard/gate"])
    assert made.cameras == ("door", "yard") and made.zones_at("door") == ("porch", "steps")
    assert "comes to Front door (only in porch or steps) or yard (only in gate), call" in made.sentence({"door": "Front door"})
    assert changed_rule(made, {"zones": ()}).cameras == ("door", "yard")
    assert changed_rule(made, {"cameras": ("yard",), "zones": ("yard/gate",)}).zones == ("yard/gate",)
    for change, said in (
        ({"cameras": ("yard",)}, "zones: expected zones of the rule's cameras, which are yard, got 'door/porch'"),
        ({"cameras": ()}, "cameras: every camera contradicts the zones of door and yard; zones=all removes them"),
        ({"zones": ("porch",)}, "zones: expected CAMERA/ZONE, such as door/porch, got 'porch'"),
        ({"zones": ("door/",)}, "zones: expected CAMERA/ZONE"),
        ({"zones": ("door/" + 200 * "x",)}, "zones: expected printable text"),
        ({"zones": tuple(f"door/{each}" for each in range(65))}, "zones: expected at most 64, got 65"),
    ):
        with pytest.raises(InvalidParameter) as caught:
            changed_rule(made, change)
        assert said in caught.value.message


def test_how_sure_a_name_must_be():
    made = rule(sure="sure")
    assert not concerns(made, event()) and concerns(made, event(false_match_rate=1e-6)) and not made.concerns(event(), None)
    assert concerns(made, event(subject=None))  # about whom nothing is sure


@pytest.mark.parametrize(
    ("given", "moments", "expected"),
    [
        ({"start": "22:00", "end": "23:00"}, [NIGHT, NIGHT + 1800, NIGHT - 1801], [True, False, False]),
        ({"start": "22:00", "end": "06:00"}, [NIGHT, NIGHT + 7 * 3600, NIGHT + 8 * 3600], [True, True, False]),
        ({"days": ["thu"]}, [NIGHT, NIGHT + 2 * 3600], [True, False]),
        # the hours after midnight belong to the day on which they began
        (
            {"days": ["thu"], "start": "22:00", "end": "06:00"},
            [NIGHT, NIGHT + 4 * 3600, NIGHT - 20 * 3600],
            [True, True, False],
        ),
        ({"days": ["fri"]}, [NIGHT, NIGHT + 2 * 3600], [False, True]),
    ],
)
def test_when_a_rule_holds(given, moments, expected):
    assert [rule(timezone="UTC", **given).is_time(each) for each in moments] == expected


def test_a_message_says_in_which_zone_it_is():
    told = make_rule("01", {"url": "ntfy://x", "message": "{who}: {camera} ({zone})", "timezone": "UTC"})
    seen = {"moment": NIGHT, "zones": ["Path", "Porch"]}
    assert told.notification(event(**seen), "Door") == "Ada: Door (Path, Porch)"
    assert changed_rule(told, {"language": "ja"}).notification(event(**seen), "Door") == "Ada: Door (Path、Porch)"
    porch = changed_rule(told, {"zones": ("door/porch", "yard/path")})
    assert porch.notification(event(**seen), "Door") == "Ada: Door (Porch)"  # where the rule is about
    for nowhere in (event(moment=NIGHT), event(moment=NIGHT, zones=[])):
        assert told.notification(nowhere, "Door") == "Ada: Door"
        for message, said in (
            ("{who} at {camera}, {zone}, {time}", "Ada at Door, 22:30"),
            ("{zone}, {camera}: {who}", "Door: Ada"),
            ("{zone} {who}!", "Ada!"),
            ("{who} is {zone} at {camera} [ {zone} ] ( {time})", "Ada is at Door (22:30)"),
            ("{who}（{zone}）", "Ada"),
            ("a  {who}", "a  Ada"),  # what somebody wrote stays
        ):
            assert changed_rule(told, {"message": message}).notification(nowhere, "Door") == said


def test_somebody_who_enters_a_zone_is_told_in_words_of_their_own():
    def entered(subject: str | None = "Ada", **more) -> dict:
        return event(subject=subject, kind="entered", moment=NIGHT, **{"zones": ["Porch"], **more})

    made = make_rule("01", {"url": "ntfy://x", "timezone": "UTC", "zones": ("door/porch",)})
    assert made.notification(entered(), "Door") == "Ada entered Porch at Door (22:30)"
    assert made.notification(entered(None), "Door") == "Somebody unknown entered Porch at Door (22:30)"
    assert made.notification(event(moment=NIGHT, zones=["Porch"]), "Door") == "Ada is at Door (22:30)"
    assert made.notification(entered(zones=["Path"]), "Door") == "Ada is at Door (22:30)"  # the rule was changed meanwhile
    assert changed_rule(made, {"action": "push"}).notification(entered(), "Door") == "Somebody entered Porch at Door (22:30)"
    assert changed_rule(made, {"message": "{who}: {zone}"}).notification(entered(), "Door") == "Ada: Porch"
    for language in LANGUAGES:
        said = changed_rule(made, {"language": language}).notification(entered(), "Tür")
        assert all(each in said for each in ("Ada", "Porch", "Tür", "22:30")) and "{" not in said


def test_times_are_those_of_the_rules_zone():
    assert rule(timezone="Asia/Tokyo", start="07:00", end="08:00", days=["fri"]).is_time(NIGHT)
    made = make_rule("01", {"action": "notify", "url": "ntfy://hidden", "timezone": "Asia/Tokyo"})
    assert made.notification(event(moment=NIGHT), "Front door") == "Ada is at Front door (07:30)"
    assert made.notification(event(subject=None, moment=NIGHT), "Front door") == "Somebody unknown is at Front door (07:30)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"who": "people"}, "people: expected names"),
        ({"who": "nobody"}, "who: expected one of people, group"),
        ({"start": "22:00"}, "start: expected start and end"),
        ({"start": "22:00", "end": "24:00"}, "end: expected HH:MM, got '24:00'"),
        ({"start": "22:00", "end": "22:00"}, "another time than start"),
        ({"days": ["monday"]}, "days: expected one of mon"),
        ({"timezone": "Mars/Olympus"}, "timezone: expected a time zone"),
        ({"timezone": "../../etc/passwd"}, "timezone: expected a time zone"),
        ({"apart_minutes": float("nan")}, "apart_minutes: expected a number from 0"),
        ({"most_per_hour": 0}, "most_per_hour: expected a number from 1 to 600"),
        ({"most_per_hour": 10**400}, "most_per_hour: expected a number from 1 to 600"),
        ({"url": "ftp://hidden"}, "url: expected http:// or https://"),
        ({"url": "https://[hidden"}, "url: expected http:// or https://"),
        ({"action": "notify", "url": "hidden"}, "url: expected SERVICE://"),
        ({"action": "notify", "url": None}, "url: expected where the message goes"),
        ({"action": "notify", "message": "a\nb"}, "message: expected printable text"),
        ({"action": "mqtt"}, "topic: expected a topic, and a payload"),
        ({"action": "mqtt", "topic": "a/#", "payload": "ON"}, "topic: expected one without"),
        ({"action": "mqtt", "topic": "$SYS/a", "payload": "ON"}, "topic: expected one without"),
        ({"action": "mqtt", "topic": "a", "payload": "ON", "off_seconds": 5}, "off_payload: expected it together"),
    ],
)
def test_wrong_rules_are_refused_with_a_reason(given, said):
    with pytest.raises(InvalidParameter) as caught:
        rule(**given)
    assert said in caught.value.message and "hidden" not in caught.value.message


def test_a_rule_keeps_only_what_it_uses():
    made = rule(who="known", people=["Ada"], message="x", picture=True, topic="a", days=["sun", "mon", "mon"])
    assert (made.people, made.message, made.picture, made.topic, made.days) == ((), None, False, None, ("mon", "sun"))
    switch = changed_rule(made, {"action": "mqtt", "topic": "a", "payload": "ON"})
    assert switch.url is None and switch.late_minutes == 1 and made.late_minutes == 1440
    assert rule(days=["mon", "tue", "wed", "thu", "fri", "sat", "sun"]).days == ()


def test_a_rule_reads_as_a_sentence_and_shows_no_secret():
    made = rule(
        who="people", people=["Ada", "Bob"], cameras=["door"], days=["sat", "sun"], start="22:00", end="06:00", sure="sure"
    )
    assert made.sentence({"door": "Front door"}) == (
        "When Ada or Bob comes to Front door on Saturday or Sunday from 22:00 to 06:00, and the name is sure, call "
        "https://example.org; at most 60 times an hour, and 5 minutes apart for each person."
    )
    switch = make_rule("01", {"action": "mqtt", "topic": "a/b", "payload": "ON", "off_payload": "OFF", "off_seconds": 30.0})
    assert "publish 'ON' to a/b, and 'OFF' 30 seconds later" in switch.sentence({})
    for url in (
        "tgram://123456:hidden/789",
        "ntfy://hidden",
        "mailto://ada:hidden@example.org",
        "json://ada:hidden@example.org/hidden",
    ):
        secret = make_rule("01", {"action": "notify", "url": url})
        assert "hidden" not in json.dumps(shown(secret)) + secret.sentence({}) + repr(secret)


# -- people in rules --------------------------------------------------------------------------------------------------


class NotedActions:
    """Actions that only note what they would publish."""

    broker = "there is one"

    def __init__(self, fails: bool = False):
        self.published: list[tuple] = []
        self._fails = fails

    def publish(self, topic, payload, retain) -> None:
        self.published.append((topic, payload, retain))
        if self._fails:
            raise ActionFailed("no connection to the broker could be made")


@pytest.mark.parametrize("fails", [False, True])
def test_a_broker_does_not_retain_the_name_of_somebody_who_is_erased(tmp_path, fails):
    actions = NotedActions(fails)
    rules = KeptRules(RuleFile(tmp_path / "rules.json"), None, lambda: actions, dict, None, None)
    for topic, payload, retain in (("home/who", "Ada", True), ("home/ada", "1", False), ("home/lamp", "ON", True)):
        given = {"action": "mqtt", "topic": topic, "payload": payload, "retain": retain}
        rules.store.add(lambda id_, given=given: make_rule(id_, given))
    rules.erase("Ada")
    assert actions.published == [("home/who", "", True)]
    assert [each.topic for each in rules.store.all()] == ["home/lamp"]


def test_somebody_who_is_erased_is_in_no_rule():
    both = rule(who="people", people=["Ada", "Bob"])
    assert without(both, "Ada").people == ("Bob",) and without(both, "staff/Ada") == both
    assert without(rule(who="people", people=["Ada"]), "Ada") is None  # not a rule about anybody
    spoken = make_rule("01", {"action": "notify", "url": "ntfy://x", "message": "Ada is back"})
    assert without(spoken, "Ada").message is None and without(spoken, "back i") == spoken
    assert without(spoken, "Ad") == spoken
    assert without(make_rule("01", {"action": "mqtt", "topic": "home/Ada", "payload": "1"}), "Ada") is None
    switch = make_rule("01", {"action": "mqtt", "topic": "home/light", "payload": "ON"})
    assert without(switch, "ON") == switch
    assert without(spoken, "") is spoken  # erasing one photo
    for topic in ("home/ada_lovelace/set", "home/sensor_ada-lovelace", "ADA LOVELACE"):  # as machines write names
        named = make_rule("01", {"action": "mqtt", "topic": topic, "payload": "1"})
        assert without(named, "Ada Lovelace") is None and without(named, "Love") == without(named, "lace") == named
    told = make_rule("01", {"action": "notify", "url": "ntfy://x", "message": "zoe\u0308 is back"})  # two characters for one
    assert without(told, "Zo\u00eb").message is None and renamed(told, "Zo\u00eb", "Ada").message == "Ada is back"


def test_somebody_who_is_renamed_is_renamed_in_rules():
    made = make_rule("01", {"url": "ntfy://x", "who": "people", "people": ("Ada", "Bob"), "message": "Ada (Adam) is back"})
    after = renamed(made, "Ada", "Ada L")
    assert (after.people, after.message) == (("Ada L", "Bob"), "Ada L (Adam) is back")
    assert renamed(made, "Ada", "Bob").people == ("Bob",)  # merged
    assert renamed(made, "staff/Ada", "staff/Eve").people == ("Ada", "Bob")


@pytest.mark.parametrize("vault", [None, Vault([new_key()])], ids=["plain", "sealed"])
def test_rules_are_stored_for_their_owner_alone_and_found_by_all(tmp_path, vault):
    first, second = (RuleFile(tmp_path / "state" / "rules.json", vault) for _ in range(2))
    made = first.add(lambda id_: make_rule(id_, {**HOOK, "who": "people", "people": ("Ada", "Bob")}))
    assert second.all() == [made] and second.get(made.id).url == HOOK["url"]
    file = tmp_path / "state" / "rules.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and (b"hidden" in file.read_bytes()) is (vault is None)
    second.change(made.id, lambda rule: changed_rule(rule, {"enabled": False}))
    assert not first.get(made.id).enabled and stat.S_IMODE(file.stat().st_mode) == 0o600
    first.rename("Ada", "Eve")
    assert second.find("Eve") and not second.find("Ada")
    second.erase("Bob")
    assert first.get(made.id).people == ("Eve",) and b"Bob" not in file.read_bytes()
    first.erase("Eve")
    assert second.all() == []
    with pytest.raises(RuleNotFound):
        second.remove(made.id)
    if vault is not None:
        first.add(lambda id_: make_rule(id_, HOOK))
        with pytest.raises(KeyMissing):
            RuleFile(file).all()


def test_a_damaged_file_is_reported_and_not_overwritten(tmp_path):
    file = tmp_path / "rules.json"
    file.write_text('{"rules": [{"id": "1", "who": "nobody"}]}')
    with pytest.raises(StorageError, match=r"rules\.json is damaged"):
        RuleFile(file).add(lambda id_: make_rule(id_, HOOK))
    assert "nobody" in file.read_text()
    RuleFile(file).erase("Ada")  # whom it may name
    assert RuleFile(file).all() == []


def test_rules_are_encrypted_with_a_new_key_and_are_in_backups(service):  # noqa: F811
    made = service.rules.add(HOOK).rule
    with service.backup() as file, zipfile.ZipFile(file) as backup:
        paths = {each["path"] for each in json.loads(backup.read("manifest.json"))["members"]}
    assert {"state/rules.json", f"state/events/rule-{made.id}.cursor"} <= paths
    service.close()
    settings, vault = service.settings, Vault([new_key()])
    reseal.reseal(reseal.Places(settings.known_faces, settings.state_dir), None, vault)
    file = settings.state_dir / "rules.json"
    assert b"hidden" not in file.read_bytes() and RuleFile(file, vault).all() == [made]
    reseal.reseal(reseal.Places(settings.known_faces, settings.state_dir), vault, None)
    assert RuleFile(file).all() == [made]


def test_there_is_a_maximum(tmp_path, monkeypatch):
    monkeypatch.setattr(rule_store, "MOST_RULES", 1)
    file = RuleFile(tmp_path / "rules.json")
    file.add(lambda id_: make_rule(id_, HOOK))
    with pytest.raises(TooManyRules):
        file.add(lambda id_: make_rule(id_, HOOK))


# -- what happens -----------------------------------------------------------------------------------------------------


def doing(broker: BrokerAddress | None = None, allow=("127.0.0.1",)) -> RuleActions:
    names = {"door": "Front door"}
    fetcher = Fetcher(allow=allow, timeout=5)
    return RuleActions(RuleTools(fetcher, allow, b"key", broker, ["recognizer"], lambda id_: names.get(id_, id_)))


@pytest.fixture
def follow(log):
    made = []

    def run(followed: Rule, actions: RuleActions | None = None, **more) -> RuleDelivery:
        made.append(RuleDelivery(log, followed, actions or doing(), **{"least": 0.02, "most": 0.1, **more}))
        made[-1].start()
        return made[-1]

    yield run
    for each in made:
        each.stop()


def put(log: EventLog, *subjects: str | None, **more) -> None:
    for subject in subjects:
        log.append([event(0, subject, **more)])


def bodies(receiver: Receiver) -> list[dict]:
    return [json.loads(body) for _, body in list(receiver.taken)]


def to(receiver: Receiver, **given) -> Rule:
    return rule(url=receiver.url, **given)


@pytest.mark.slow
def test_a_webhook_is_called_for_what_the_rule_is_about(log, receiver, follow):
    receiver.answers = [500]
    followed = follow(to(receiver, who="people", people=["Ada"]))
    put(log, "Bob", None, "Ada", "Ada")
    wait_for(lambda: followed.waiting == 0)
    [body] = bodies(receiver)
    assert (body["rule"], body["test"], body["event"]["subject"]) == ("0123456789", False, "Ada")
    headers = receiver.taken[0][0]
    assert headers["webhook-id"] == "recognizer-rule-0123456789-3" and headers["webhook-signature"].startswith("v1,")
    assert followed.counts == {"delivered": 1, "retried": 1, "dropped": 0, "held_back": 1} and followed.problem is None


@pytest.mark.slow
def test_how_often_survives_a_restart_and_a_new_name(log, receiver, follow, tmp_path):
    followed = follow(to(receiver, apart_minutes=10.0))
    put(log, "Ada", "Bob")
    wait_for(lambda: followed.counts["delivered"] == 2)
    followed.stop()
    names = b"".join(file.read_bytes() for file in (tmp_path / "events").glob("rule-*"))
    assert names and b"Ada" not in names
    log.rename("Ada", "Eve")
    put(log, "Eve", "Cleo")
    again = follow(to(receiver, apart_minutes=10.0))
    wait_for(lambda: again.waiting == 0)
    assert [each["event"]["subject"] for each in bodies(receiver)] == ["Ada", "Bob", "Cleo"]
    assert again.counts["held_back"] == 1


@pytest.mark.slow
def test_a_flood_is_held_back(log, receiver, follow):
    now = [time.time()]
    followed = follow(to(receiver, apart_minutes=0.0, most_per_hour=2), now=lambda: now[0])
    put(log, "Ada", "Ada", "Bob")
    wait_for(lambda: followed.waiting == 0)
    assert followed.counts["delivered"] == 2 and followed.counts["held_back"] == 1
    now[0] += 3601
    put(log, "Ada", moment=now[0])
    wait_for(lambda: followed.counts["delivered"] == 3)


@pytest.mark.slow
def test_what_is_too_late_is_dropped_and_what_waited_is_sent_after_a_restart(log, receiver, follow):
    first = follow(to(receiver, late_minutes=10.0))
    put(log, "Ada", moment=time.time() - 700)
    wait_for(lambda: first.counts["dropped"] == 1)
    first.stop()
    put(log, "Bob", moment=time.time() - 300)  # nobody listens now
    second = follow(to(receiver, late_minutes=10.0))
    wait_for(lambda: second.counts["delivered"] == 1)
    assert [each["event"]["subject"] for each in bodies(receiver)] == ["Bob"]


@pytest.mark.slow
def test_somebody_who_is_erased_while_a_message_waits_is_not_reported(log, receiver, follow):
    receiver.answers = [500] * 1000
    followed = follow(to(receiver, who="people", people=["Ada"]))
    put(log, "Ada")
    wait_for(lambda: followed.counts["retried"] > 0)
    assert "500" in followed.problem
    log.erase("Ada", ())
    receiver.answers = []
    wait_for(lambda: followed.waiting == 0)
    put(log, "Bob")
    wait_for(lambda: followed.waiting == 0)
    assert bodies(receiver) == []


@pytest.mark.slow
def test_a_changed_rule_is_followed_at_once_although_the_old_one_waits(log, receiver, follow):
    followed = follow(rule(url="http://127.0.0.1:9/"), least=100.0, most=100.0)
    put(log, "Ada")
    wait_for(lambda: followed.counts["retried"] == 1)
    followed.rule = to(receiver)
    wait_for(lambda: bodies(receiver))


@pytest.mark.network
def test_private_addresses_are_refused(log, receiver):
    made = to(receiver)
    with pytest.raises(ActionFailed, match="RECOGNIZER_WEBHOOK_ALLOW"):
        doing(allow=()).do(made, event(), None)
    assert receiver.asked == 0


@pytest.mark.slow
def test_a_notification_reaches_a_receiver_of_apprise(receiver):
    made = make_rule("01", {"url": f"json://me:hidden@127.0.0.1:{receiver.port}/x", "picture": True, "timezone": "UTC"})
    doing().do(made, event(moment=NIGHT), b"\xff\xd8 a picture")
    [body] = bodies(receiver)
    assert (body["title"], body["message"]) == ("Recognizer", "Ada is at Front door (22:30)")
    assert body["attachments"][0]["mimetype"] == "image/jpeg"
    with pytest.raises(ActionFailed, match="RECOGNIZER_WEBHOOK_ALLOW") as refused:
        doing(allow=()).do(made, event(), None)
    receiver.answers = [500]
    with pytest.raises(ActionFailed, match="500") as failed:
        doing().do(made, event(), None)
    with pytest.raises(ActionFailed, match="knows no service"):
        doing().do(make_rule("01", {"url": "hidden://x"}), event(), None)
    assert "hidden" not in refused.value.message + failed.value.message and receiver.asked == 2


def test_what_apprise_says_is_repeated_only_if_it_is_harmless():
    url = "tgram://123456789:abcdef_hidden/987654"
    assert (
        harmless("Failed to send Telegram notification: error=401.", url) == "Failed to send Telegram notification: error=401."
    )
    for said in ("got abcdef_hidden", "of bot123456789", "at https://api.telegram.org/bot1/x"):
        assert harmless(said, url) == ""
    assert harmless("no reply of smtp.example.org:2525", "mailto://ada:hidden@smtp.example.org:2525") != ""


def test_without_apprise_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(rule_actions, "can_notify", lambda: False)
    with pytest.raises(ActionOff, match=r"pip install 'recognizer\[notify\]'"):
        doing().check(make_rule("01", {"url": "ntfy://x"}))


def test_topics_of_the_server_itself_and_a_missing_broker_are_refused():
    switch = make_rule("01", {"action": "mqtt", "topic": "recognizer/status", "payload": "ON"})
    with pytest.raises(ActionOff, match="RECOGNIZER_MQTT_URL"):
        doing().check(switch)
    with pytest.raises(ActionOff, match="choose another"):
        doing(BrokerAddress("127.0.0.1", 1)).check(switch)
    with pytest.raises(ActionFailed, match="no connection"):
        doing(BrokerAddress("127.0.0.1", 1)).publish("a", "b", False)


@pytest.mark.slow
@needs_broker
def test_a_switch_is_on_for_a_time_also_when_the_server_stops_meanwhile(log, follow, tmp_path: Path):
    with Broker(tmp_path / "broker") as server:
        address = BrokerAddress("127.0.0.1", server.port, user=server.user, password=server.password)
        listener = Listener(server)
        given = {"action": "mqtt", "topic": "home/light/set", "payload": "ON", "off_payload": "OFF", "off_seconds": 60.0}
        made = make_rule("01", {**given, "apart_minutes": 0.0})
        now = [time.time()]
        first = follow(made, doing(address), now=lambda: now[0])
        put(log, "Ada")
        wait_for(lambda: first.counts["delivered"] == 1)
        wait_for(lambda: listener.of("home/light/set") == [b"ON"])
        first.stop()
        now[0] += 61
        second = follow(made, doing(address), now=lambda: now[0])
        wait_for(lambda: listener.of("home/light/set") == [b"ON", b"OFF"])
        put(log, "Bob", moment=now[0])
        wait_for(lambda: second.counts["delivered"] == 1)
        second.end()  # the rule is removed: what is on is switched off, and nothing of it stays
        wait_for(lambda: listener.of("home/light/set") == [b"ON", b"OFF", b"ON", b"OFF"])
        assert list((tmp_path / "events").glob("rule-*")) == []
        wrong = BrokerAddress("127.0.0.1", server.port, user=server.user, password="hidden")
        with pytest.raises(ActionFailed, match="refuses") as refused:
            doing(wrong).publish("a", "b", False)
        assert "hidden" not in refused.value.message
        listener.close()


# -- all of it together -----------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path, models_dir) -> Settings:
    return Settings(
        known_faces=tmp_path / "known",
        state_dir=tmp_path / "state",
        models_dir=models_dir,
        detector="yunet",
        embedder="sface",
        watch=False,
        workers=1,
        webhook_allow=("127.0.0.1",),
    )


@pytest.mark.slow
def test_rules_are_followed_renamed_exported_and_erased_with_their_people(service, faces, receiver, tmp_path):  # noqa: F811
    service.subjects.enrol("Ada", faces["obama"])
    service.groups.add("staff").subjects.enrol("Ada", faces["biden"])
    rules = service.rules
    rules.start()
    about = {**HOOK, "url": receiver.url, "who": "people"}
    ada, both = rules.add({**about, "people": (" Ada",)}), rules.add({**about, "people": ("Ada",), "group": "staff"})
    assert ada.rule.people == ("Ada",) and both.rule.names() == ("staff/Ada",)
    for wrong, error in (
        ({"people": ("Eve",)}, SubjectNotFound),
        ({"people": ("Ada",), "group": "other"}, GroupNotFound),
        ({"who": "known", "cameras": ("attic",)}, CameraNotFound),
        ({"who": "known", "action": "mqtt", "topic": "a", "payload": "b"}, ActionOff),
    ):
        with pytest.raises(error):
            rules.add({**about, **wrong})
    with pytest.raises(CameraNotFound, match="^cameras: there is no camera 'attic'"):  # the page marks the field by its name
        rules.add({**about, "who": "known", "cameras": ("attic",)})
    service.events.hub.log.append([event(subject="Ada")])
    wait_for(lambda: bodies(receiver))
    wait_for(lambda: rules.all()[0].counts["delivered"] == 1)
    assert bodies(receiver)[0]["rule"] == ada.rule.id and rules.all()[0].last_sent
    rules.test(both.rule.id)
    assert bodies(receiver)[1]["test"] is True
    service.subjects.rename("Ada", "Ada L")
    assert [each.rule.people for each in rules.all()] == [("Ada L",), ("Ada",)]
    assert service.subjects.export("Ada L", tmp_path / "ada.zip")["rules"] == 1
    rules.change(ada.rule.id, {"enabled": False})
    assert [each.counts is None for each in rules.all()] == [True, False]
    service.events.hub.log.append([event(subject="Ada L")])
    rules.change(ada.rule.id, {"enabled": True})  # what happened meanwhile is not reported
    assert rules.store.get(ada.rule.id).url == receiver.url  # which was not given again
    done = service.subjects.delete("Ada L")
    assert done["left"]["rules"] == 0 and [each.rule.id for each in rules.all()] == [both.rule.id]
    assert len(bodies(receiver)) == 2
    stored = (service.settings.state_dir / "rules.json").read_bytes()
    assert b"Ada L" not in stored
    service.groups.delete("staff")
    assert rules.all() == []
    lines = [line for line in service.audit_page()["lines"] if line["action"].startswith("rule_")]
    assert {line["action"] for line in lines} == {"rule_add", "rule_test", "rule_change"}


def test_what_cannot_be_followed_says_why(service):  # noqa: F811
    camera = service.video.cameras.add("test:", "Yard").id
    made = service.rules.add({**HOOK, "cameras": (camera,)})
    assert made.problem is None and "comes to Yard" in made.sentence
    service.video.cameras.remove(camera)
    gone = service.rules.all()[0]
    assert (gone.problem, gone.problem_code) == ("none of its cameras exists any longer", "cameras_gone")
    assert gone.as_json()["problem_code"] == "cameras_gone"
    off = service.rules.change(made.rule.id, {"enabled": False})
    assert off.problem is off.problem_code is None


def test_what_is_gone_stays_in_a_rule_until_somebody_takes_it_out(service, faces):  # noqa: F811
    service.subjects.enrol("Ada", faces["obama"])
    cameras = service.video.cameras
    yard, hall = (cameras.add("test:", name).id for name in ("Yard", "Hall"))
    staff = service.groups.add("staff")
    staff.subjects.enrol("Zed", faces["biden"])
    made = service.rules.add({**HOOK, "cameras": (yard, hall), "who": "people", "people": ("Zed",), "group": "staff"}).rule
    cameras.remove(yard)
    shutil.rmtree(service.settings.groups_dir / "staff")  # not an erasure, which takes the rule along
    service.groups.follow()
    saved = {"cameras": (yard, hall), "who": "people", "people": ("Zed",), "group": "staff", "days": ("mon",)}
    after = service.rules.change(made.id, saved).rule
    assert (after.cameras, after.people, after.group, after.days) == ((yard, hall), ("Zed",), "staff", ("mon",))
    for wrong, error in (
        ({"cameras": (yard, "attic")}, CameraNotFound),
        ({"people": ("Zed", "Eve"), "group": "staff"}, GroupNotFound),
        ({"people": ("Eve",), "group": "default"}, SubjectNotFound),
    ):
        with pytest.raises(error):
            service.rules.change(made.id, wrong)
    assert service.rules.change(made.id, {"cameras": (hall,), "people": ("Ada",), "group": "default"}).rule.cameras == (hall,)
    with pytest.raises(CameraNotFound):  # it was taken out
        service.rules.change(made.id, {"cameras": (yard, hall)})


def zoned(**areas: float) -> CameraSettings:
    """Zones by name: their tops, as fractions of the picture."""
    return parse_settings({"zones": [{"name": name, "points": [[0, y], [1, y], [1, 1]]} for name, y in areas.items()]})


def test_a_rule_knows_the_zones_of_its_cameras(service):  # noqa: F811
    camera = service.video.cameras.add("test:", "Yard").id
    with pytest.raises(InvalidParameter, match="^zones: the camera yard has no zone 'gate'; it has none with a name$"):
        service.rules.add({**HOOK, "zones": (f"{camera}/gate",)})
    service.video.configure(camera, zoned(Gate=0.1, Path=0.2))
    with pytest.raises(InvalidParameter, match="has no zone 'steps'; it has Gate, Path$"):
        service.rules.add({**HOOK, "zones": (f"{camera}/steps",)})
    with pytest.raises(CameraNotFound, match="^zones: there is no camera 'attic'"):
        service.rules.add({**HOOK, "zones": ("attic/gate",)})
    made = service.rules.add({**HOOK, "zones": (f"{camera}/ gate", f"{camera}/GATE", f"{camera}/path")})
    assert made.rule.zones == ("yard/Gate", "yard/Path") and made.rule.cameras == ("yard",)
    assert made.problem is None and made.as_json()["lost_zones"] == []


def test_zones_that_are_renamed_are_followed_and_those_that_are_removed_are_said(service):  # noqa: F811
    camera = service.video.cameras.add("test:", "Yard").id
    service.video.configure(camera, zoned(gate=0.1, path=0.2))
    made = service.rules.add({**HOOK, "zones": ("yard/gate", "yard/path")}).rule
    before, after = service.video.settings_of(camera), zoned(Entrance=0.1, path=0.2)
    service.video.configure(camera, after)
    service.rules.zones_changed(camera, renamed_zones(before, after))
    assert service.rules.store.get(made.id).zones == ("yard/Entrance", "yard/path")
    service.video.configure(camera, zoned(path=0.2))
    [state] = service.rules.all()
    assert (state.lost_zones, state.problem) == (("yard/Entrance",), None)  # it is followed in the other one
    # what is gone stays when the rule is saved again, until somebody takes it out
    again = service.rules.change(made.id, {"zones": ("yard/Entrance", "yard/path"), "days": ("mon",)})
    assert again.rule.zones == ("yard/Entrance", "yard/path")
    service.video.configure(camera, PLAIN)
    [state] = service.rules.all()
    assert (state.problem, state.problem_code) == ("none of its zones exists any longer", "zones_gone")
    assert service.rules.change(made.id, {"zones": ()}).problem is None


def test_renamed_zones_are_told_from_new_ones():
    before = zoned(gate=0.1, path=0.2)
    assert renamed_zones(before, zoned(door=0.1, path=0.2)) == {"gate": "door"}
    assert renamed_zones(before, zoned(door=0.5, path=0.2)) == renamed_zones(before, zoned(path=0.1, gate=0.2)) == {}


@pytest.mark.slow
def test_another_process_follows_what_this_one_changes(service, receiver):  # noqa: F811
    service.rules.start()
    other = KeptRules(
        RuleFile(service.settings.state_dir / "rules.json"), service.events, doing, dict, lambda: service.groups, service.audit
    )
    made = other.add({**HOOK, "url": receiver.url})
    service.events.hub.log.append([event(subject="Ada")])  # before it was noticed
    wait_for(lambda: bodies(receiver))
    other.remove(made.rule.id)
    folder = service.settings.state_dir / "events"
    wait_for(lambda: not list(folder.glob("rule-*")))


@pytest.mark.slow
def test_the_process_that_takes_over_the_events_takes_over_the_rules(tmp_path, receiver):
    first, second = Events(tmp_path / "events"), Events(tmp_path / "events")
    one, other = (RuleDelivery(hub.log, to(receiver, apart_minutes=0.0), doing()) for hub in (first, second))
    first.add_sink(one)
    second.add_sink(other)
    assert one.started and not other.started
    first.log.append([event(subject="Ada")])
    wait_for(lambda: one.counts["delivered"] == 1)
    first.close()
    wait_for(lambda: other.started)  # by itself
    second.log.append([event(subject="Bob")])
    wait_for(lambda: other.counts["delivered"] == 1)
    assert [each["event"]["subject"] for each in bodies(receiver)] == ["Ada", "Bob"]
    second.remove_sink(other)
    other.end()
    second.log.append([event(subject="Cleo")])
    assert second.sinks == [] and not list((tmp_path / "events").glob("rule-*"))
    second.close()


@pytest.mark.slow
def test_the_picture_of_somebody_who_left_is_that_of_when_they_came(log, receiver, follow):
    made = make_rule("01", {"url": f"json://127.0.0.1:{receiver.port}/", "kind": "leaves", "sure": "sure", "picture": True})
    followed = follow(made)
    came = log.append([event(false_match_rate=1e-7)], [b"\xff\xd8 a picture"])
    log.append([event(kind="left", false_match_rate=None, appearance=came)])
    wait_for(lambda: followed.counts["delivered"] == 1, 60)
    [body] = bodies(receiver)
    assert base64.b64decode(body["attachments"][0]["base64"]) == b"\xff\xd8 a picture"


def test_nothing_else_is_waited_for_while_the_file_is_locked(service, tmp_path):  # noqa: F811
    """Erasures hold the lock of all changes and wait for the file: whoever locked the file must not wait for that lock."""
    with ThreadPoolExecutor(1) as other:

        def groups():
            other.submit(rules.store.all).result(10)  # fails if this thread holds the file
            return service.groups

        def actions():
            other.submit(rules.store.all).result(10)
            return doing()

        rules = KeptRules(RuleFile(tmp_path / "other" / "rules.json"), service.events, actions, dict, groups, service.audit)
        made = rules.add({**HOOK, "who": "group", "group": "default"})
        assert rules.change(made.rule.id, {"who": "known", "days": ("mon",)}).rule.days == ("mon",)
        assert rules.change(made.rule.id, {"who": "group"}).rule.group == "default"
