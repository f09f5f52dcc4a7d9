"""Rules and settings of single cameras that nodes share: one list, followed by each node for the events that it has."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from recognizer.core.errors import DatabaseAway, KeyMissing, RuleNotFound, TooManyRules
from recognizer.core.vault import Vault, new_key
from recognizer.database import nodes
from recognizer.database.local_copy import LocalCopy
from recognizer.events.event_hub import Events
from recognizer.rules import rule_delivery, rule_store
from recognizer.rules.rule_delivery import RuleDelivery
from recognizer.rules.rule_model import Rule, make_rule
from recognizer.rules.rule_reports import SharedReports
from recognizer.rules.rule_store import DamagedRules
from recognizer.rules.rule_table import RuleTable
from recognizer.service.rule_service import KeptRules
from recognizer.video.camera_settings import COVERED, PLAIN, parse_settings
from recognizer.video.sources import camera_settings_table
from recognizer.video.sources.camera_settings_table import CameraSettingsTable

from .streams import wait_for
from .test_rules import HOOK, bodies, doing, event

pytestmark = [pytest.mark.network, pytest.mark.usefixtures("nodes_a_and_b")]


def made_of(**given) -> Rule:
    return make_rule("x", {**HOOK, **given})


def with_id(made: Rule):
    return lambda id_: Rule(**{**vars(made), "id": id_})


def person(database, name: str) -> int:
    return database.rows("insert into subject (name, folded) values (%s, %s) returning id", (name, name.lower()))[0][0]


# --- the list --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vault", [None, Vault([new_key()])], ids=["plain", "sealed"])
def test_what_one_node_changes_the_other_has(database, vault, monkeypatch):
    one, two = RuleTable(database, vault), RuleTable(database, vault)
    first = one.add(with_id(made_of(who="people", people=("Ada", "Bob"))))
    assert two.all() == [first] and two.get(first.id).url == HOOK["url"]
    second = two.add(with_id(made_of(who="people", people=("Ada",))))
    assert [each.id for each in one.all()] == [first.id, second.id]  # in the order in which they were made
    stored = b"".join(bytes(row[0]) for row in database.rows("select content from rule"))
    assert (b"hidden" in stored) is (b"Ada" in stored) is (vault is None)
    two.rename("Ada", "Eve")
    assert [each.people for each in one.all()] == [("Eve", "Bob"), ("Eve",)]
    one.erase("Eve")
    assert [each.people for each in two.all()] == [("Bob",)] and one.find("Eve") == []
    two.change(first.id, lambda held: Rule(**{**vars(held), "enabled": False}))
    assert not one.get(first.id).enabled
    monkeypatch.setattr(rule_store, "MOST_RULES", 1)
    with pytest.raises(TooManyRules):
        one.add(with_id(made_of()))
    two.remove(first.id)
    with pytest.raises(RuleNotFound):
        one.get(first.id)
    if vault is not None:
        one.add(with_id(made_of()))
        with pytest.raises(KeyMissing):
            RuleTable(database).all()


def test_a_damaged_rule_is_deleted_with_an_erasure_and_the_others_stay(database):
    table = RuleTable(database)
    kept = table.add(with_id(made_of(who="known")))
    table.add(with_id(made_of(who="people", people=("Ada",))))
    database.rows("update rule set content = 'x' where id <> %s returning id", [kept.id])
    with pytest.raises(DamagedRules):
        table.all()
    table.erase("Ada")
    assert table.all() == [kept]


def test_a_rule_that_is_enabled_again_begins_anew(database):
    table = RuleTable(database)
    made = table.add(with_id(made_of()))
    table.all()
    begun = table.since(made.id)
    assert abs(begun - time.time()) < 60
    switched = lambda on: lambda held: Rule(**{**vars(held), "enabled": on})  # noqa: E731
    table.change(made.id, switched(False))
    table.all()
    assert table.since(made.id) == begun
    table.change(made.id, switched(True))
    table.all()
    assert table.since(made.id) > begun


def test_rules_of_another_installation_are_taken_in_once(database, monkeypatch):
    table = RuleTable(database)
    given = [make_rule(f"{number:010}", HOOK) for number in range(3)]
    assert table.take_in(given[:2]) == 2 and table.take_in(given[:2]) == 0
    monkeypatch.setattr(rule_store, "MOST_RULES", 2)
    assert table.take_in(given) == 0 and table.all() == given[:2]


# --- how often -------------------------------------------------------------------------------------------------------


def test_nodes_together_report_somebody_as_often_as_the_rule_allows(database):
    one, two = SharedReports(database, "a"), SharedReports(database, "b")
    rule = RuleTable(database).add(with_id(made_of(apart_minutes=5.0, most_per_hour=4)))
    ada, bob = person(database, "Ada"), person(database, "Bob")
    assert one.claim(rule, event(1, "Ada")) and one.claim(rule, event(1, "Ada"))  # the same one again
    assert not two.claim(rule, event(1, "Ada"))  # it is another event of another node
    assert two.claim(rule, event(2, "Bob"))
    assert two.claim(rule, event(3, None)) and not one.claim(rule, event(4, None))  # all unknown people count as one
    database.rows("update subject set name = 'Eve' where id = %s returning id", [ada])
    assert not two.claim(rule, event(5, "Eve"))  # by another name
    two.give_back(rule, event(2, "Bob"))
    assert one.claim(rule, event(6, "Bob"))
    assert one.claim(rule, event(7, "Somebody")) and not one.claim(rule, event(8, "Somebody else"))  # four in an hour
    assert database.rows("select count(*) from rule_report where subject = %s", [bob]) == [(1,)]
    database.rows("delete from subject returning id")  # erased: no row says who it was
    assert database.rows("select count(*), count(subject) from rule_report") == [(4, 0)]
    database.rows("update rule_report set at = now() - interval '61 minutes' returning rule")
    assert two.claim(rule, event(9, "Ada"))
    assert database.rows("select count(*) from rule_report") == [(1,)]
    RuleTable(database).remove(rule.id)
    assert not two.claim(rule, event(10, "Ada"))
    assert nodes.forget(database, "a")


def test_the_node_that_switched_on_last_switches_off(database):
    one, two = SharedReports(database, "a"), SharedReports(database, "b")
    rule = RuleTable(database).add(with_id(made_of()))
    assert one.switches_off(rule)
    one.note_switched_on(rule)
    two.note_switched_on(rule)
    assert two.switches_off(rule) and not one.switches_off(rule)
    RuleTable(database).remove(rule.id)
    assert one.switches_off(rule)


# --- followed --------------------------------------------------------------------------------------------------------


class Followed:
    """The rules of a node, with events of its own."""

    def __init__(self, database, folder, node: str):
        self.hub = Events(folder / node)
        kept = SimpleNamespace(wanted=True, hub=self.hub)
        audit = SimpleNamespace(append=lambda *given, **more: None)
        reports = SharedReports(database, node)
        self.rules = KeptRules(RuleTable(database), kept, doing, dict, lambda: None, audit, reports)
        self.rules.start()

    def close(self) -> None:
        self.rules.close()
        self.hub.close()


@pytest.fixture
def pair(database, tmp_path):
    made = [Followed(database, tmp_path, node) for node in ("a", "b")]
    yield made
    for each in made:
        each.close()


@pytest.mark.slow
def test_each_node_reports_its_own_events_and_none_does_so_twice(pair, database, receiver):
    one, two = pair
    person(database, "Ada")
    old = event(0, "Old", moment=time.time() - 60)
    two.hub.log.append([old])
    made = one.rules.add({**HOOK, "url": receiver.url, "apart_minutes": 10.0})
    two.hub.log.append([event(0, "Bob")])  # before this node knows the rule
    one.hub.log.append([event(0, "Ada")])
    wait_for(lambda: len(bodies(receiver)) == 2)
    two.hub.log.append([event(0, "Ada")])  # who was reported by the other one
    two.hub.log.append([event(0, "Cleo")])
    wait_for(lambda: len(bodies(receiver)) == 3)
    assert sorted(each["event"]["subject"] for each in bodies(receiver)) == ["Ada", "Bob", "Cleo"]
    done = {"delivered": 2, "retried": 0, "dropped": 0, "held_back": 1}
    wait_for(lambda: [(each.rule.id, each.counts) for each in two.rules.all()] == [(made.rule.id, done)])
    two.rules.remove(made.rule.id)
    wait_for(lambda: not list(one.hub.log.folder.glob("rule-*")))
    assert one.rules.all() == []


@pytest.mark.slow
def test_while_the_database_is_away_what_is_known_is_followed(pair, database, receiver, monkeypatch):
    one, _ = pair
    one.rules.add({**HOOK, "url": receiver.url})
    monkeypatch.setattr(database, "followed", True)
    database.note_away()
    one.hub.log.append([event(0, "Ada")])
    wait_for(lambda: bodies(receiver))
    with pytest.raises(DatabaseAway):
        one.rules.all()
    database.note_there()
    wait_for(lambda: one.rules.all()[0].counts["delivered"] == 1)


@pytest.mark.slow
def test_what_a_killed_node_had_claimed_is_reported_at_its_next_start(database, tmp_path, receiver):
    hub = Events(tmp_path / "events")
    rule = RuleTable(database).add(with_id(made_of(url=receiver.url)))
    reports = SharedReports(database, "a")
    hub.log.append([event(0, "Ada")])
    assert reports.claim(rule, event(1, "Ada"))  # and then the process ended
    delivery = RuleDelivery(hub.log, rule, doing(), shared=reports)
    (hub.log.folder / f"rule-{rule.id}.cursor").write_text('{"after": 0}')
    delivery.start()
    wait_for(lambda: delivery.counts["delivered"] == 1)
    delivery.stop()
    hub.close()


@pytest.mark.slow
def test_what_is_given_up_may_be_reported_by_another_node(database, tmp_path, receiver):
    receiver.answers = [400, 400, 400]
    hub = Events(tmp_path / "events")
    rule = RuleTable(database).add(with_id(made_of(url=receiver.url, apart_minutes=10.0)))
    delivery = RuleDelivery(hub.log, rule, doing(), least=0.01, most=0.01, shared=SharedReports(database, "a"))
    delivery.start()
    hub.log.append([event(0, None)])
    wait_for(lambda: delivery.counts["dropped"] == 1 and delivery.waiting == 0)
    assert SharedReports(database, "b").claim(rule, event(1, None))
    delivery.stop()
    hub.close()


@pytest.mark.slow
def test_what_a_killed_node_switched_on_is_switched_off_by_another_one(database, tmp_path, monkeypatch):
    monkeypatch.setattr(rule_delivery, "_LOOK_SECONDS", 0.0)
    given = {"action": "mqtt", "topic": "light", "payload": "ON", "off_payload": "OFF", "off_seconds": 60.0}
    rule = RuleTable(database).add(with_id(make_rule("x", given)))
    SharedReports(database, "a").note_switched_on(rule)  # and then it was killed
    off = []
    actions = SimpleNamespace(switch_off=lambda rule: off.append(rule.id))
    hub, reports = Events(tmp_path / "events"), SharedReports(database, "b")
    delivery = RuleDelivery(hub.log, rule, actions, shared=reports)
    delivery.start()
    assert not reports.take_over(rule) and not off  # it has time
    database.rows("update rule set off_at = now() - interval '16 seconds' returning id")
    wait_for(lambda: off == [rule.id])
    wait_for(lambda: database.rows("select off_by, off_at from rule") == [("b", None)])
    assert not SharedReports(database, "a").switches_off(rule)  # when it comes back
    delivery.stop()
    hub.close()


# --- settings of cameras ---------------------------------------------------------------------------------------------

BLACK_LEFT = {"masks": [{"points": [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]}]}


@pytest.fixture
def table(monkeypatch):
    """Makes what a node has of the settings; changes of other nodes are noticed soon."""
    monkeypatch.setattr(camera_settings_table, "NOTICED_SECONDS", 0.02)
    made = []

    def make(*given):
        made.append(CameraSettingsTable(*given))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_settings_of_a_camera_are_those_of_all_nodes(database, table):
    one, two = table(database), table(database)
    assert two.get("door") is PLAIN and two.revision("door") == 0
    one.set("door", parse_settings(BLACK_LEFT))
    assert one.get("door") == two.current("door") == parse_settings(BLACK_LEFT)
    wait_for(lambda: two.get("door") == parse_settings(BLACK_LEFT))
    assert two.revision("door") == 1 and one.all() == {"door": parse_settings(BLACK_LEFT)}
    two.forget("door")
    wait_for(lambda: one.get("door") is PLAIN)
    assert database.rows("select count(*) from camera_setting") == [(0,)]


def test_without_the_database_there_are_the_settings_of_before_or_black_cameras(database, table, tmp_path, monkeypatch, caplog):
    table(database).set("door", parse_settings(BLACK_LEFT))
    copy = lambda hours: LocalCopy(tmp_path / "copy.json", lambda: None, hours)  # noqa: E731
    known = table(database, copy(1))
    assert known.get("door") == parse_settings(BLACK_LEFT)
    monkeypatch.setattr(database, "followed", True)
    database.note_away()
    assert known.get("door") == parse_settings(BLACK_LEFT)
    with pytest.raises(DatabaseAway):
        known.set("door", PLAIN)
    assert table(database, copy(1)).get("door") == parse_settings(BLACK_LEFT)  # after a start
    black = table(database, copy(0))
    assert black.get("door") == COVERED and "all cameras are black" in caplog.text
    database.note_there()
    wait_for(lambda: black.get("door") == parse_settings(BLACK_LEFT))


def test_of_a_camera_whose_settings_are_damaged_nothing_is_shown(database, table):
    one = table(database)
    one.set("door", parse_settings(BLACK_LEFT))
    database.rows("insert into camera_setting values ('yard', %s) returning camera", [json.dumps({"masks": 7})])
    assert one.current("yard") == COVERED and one.current("door") == parse_settings(BLACK_LEFT)
