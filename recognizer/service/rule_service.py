"""The rules of an installation: kept also when they cannot be followed; followed in the process that writes the events."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from recognizer.core.audit import AuditLog
from recognizer.core.brief import brief
from recognizer.core.catalogues import translated
from recognizer.core.errors import CameraNotFound, DatabaseAway, EventsOff, InvalidParameter, RecognizerError
from recognizer.core.names import normalise_lookup
from recognizer.core.times import iso_time
from recognizer.events.delivery import Cursor
from recognizer.events.event_log import EventLog
from recognizer.rules.rule_model import (
    ZONE_SEPARATOR,
    Rule,
    changed_rule,
    make_rule,
    sends,
    shown,
    zone_parts,
)
from recognizer.rules.rule_store import DamagedRules, RuleStore
from recognizer.service.event_service import KeptEvents

if TYPE_CHECKING:
    from recognizer.rules.rule_actions import RuleActions
    from recognizer.rules.rule_delivery import RuleDelivery
    from recognizer.rules.rule_reports import SharedReports
    from recognizer.service.groups import PeopleGroups

log = logging.getLogger("recognizer.rules")

#: What everybody who makes a rule must know.
NOTICE = (
    "A face is no key: a printed photo, or a screen that shows one, is recognised like the person. Do not let a rule open or "
    "unlock anything that a photo must not open."
)
#: Why there can be no rules.
EVENTS_OFF = "no events are kept: the setting RECOGNIZER_EVENTS is off"
#: Codes of why a rule cannot be followed, besides those of errors.
CAMERAS_GONE, ZONES_GONE = "cameras_gone", "zones_gone"
#: Fields that say whom a rule is about.
_NAMING = frozenset({"who", "people", "group"})
#: Maximum time in seconds until a change by another process is noticed.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class RuleState:
    """A rule, and how it is followed.

    Attributes
    ----------
    rule : Rule
    sentence : str
        The rule in words.
    problem : str or None
        Why it cannot be followed at the moment, or never will be as it is.
    problem_code : str or None
        The same for programs: the code of an error, ``events_off``, ``cameras_gone`` or ``zones_gone``.
    counts : dict or None
        Messages since the start: delivered, retried, dropped, held_back; None where this process does not follow it.
    last_sent : float or None
        When the last message was sent since the start, in seconds since 1970.
    lost_zones : tuple of str
        Those of the rule's zones that its cameras do not have any longer.
    """

    rule: Rule
    sentence: str
    problem: str | None = None
    counts: Mapping[str, int] | None = field(default=None)
    last_sent: float | None = None
    lost_zones: tuple[str, ...] = ()
    problem_code: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As replies show it: without secrets."""
        counts = None if self.counts is None else dict(self.counts)
        last = None if self.last_sent is None else iso_time(self.last_sent)
        problem = {"problem": self.problem, "problem_code": self.problem_code, "lost_zones": list(self.lost_zones)}
        return {**shown(self.rule), "sentence": self.sentence, **problem, "counts": counts, "last_sent": last}


class KeptRules:
    """Owns the rules and the threads that follow them. Any thread may call.

    Parameters
    ----------
    store : RuleStore
        Where they are stored.
    events : KeptEvents
    make_actions : callable
        Returns what does what rules say; called when that is first needed.
    camera_names : callable
        Returns the names of all cameras, by id.
    groups : callable
        Returns all groups of people.
    audit : AuditLog
    shared : SharedReports, optional
        What other nodes reported, where nodes share a database.
    zone_names : callable, optional
        Returns the names of a camera's zones, by its id; without it, no camera has zones.
    """

    def __init__(
        self,
        store: RuleStore,
        events: KeptEvents,
        make_actions: Callable[[], RuleActions],
        camera_names: Callable[[], dict[str, str]],
        groups: Callable[[], PeopleGroups],
        audit: AuditLog,
        shared: SharedReports | None = None,
        zone_names: Callable[[str], Sequence[str]] = lambda camera: (),
    ):
        self._zone_names = zone_names
        self.store = store
        self._events, self._make_actions, self._camera_names, self._groups = events, make_actions, camera_names, groups
        self._audit, self._shared = audit, shared
        self._lock = threading.RLock()
        self._made_actions: RuleActions | None = None
        self._running: dict[str, RuleDelivery] = {}
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: str | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Follow the rules from now on; only in a server.

        Raises
        ------
        SettingsError
        """
        if not self._events.wanted:
            return
        self.actions()  # reports what is wrong with the settings
        self._look()
        self._thread = threading.Thread(target=self._follow, name="rules", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Change nothing any more; the deliveries end with the events."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def actions(self) -> RuleActions:
        """What does what rules say.

        Raises
        ------
        SettingsError
        """
        with self._lock:
            if self._made_actions is None:
                self._made_actions = self._make_actions()
            return self._made_actions

    def renew_actions(self) -> None:
        """Follow changed settings.

        Raises
        ------
        SettingsError
        """
        with self._lock:
            if self._made_actions is not None:
                self._made_actions.take_over(self._make_actions())

    def _follow(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        """Follow exactly the rules that are stored and enabled."""
        try:
            with self._lock:
                self._follow_only([each for each in self.store.all() if each.enabled])
            self._problem = None
        except DatabaseAway:  # what was followed goes on
            log.debug("changes of rules are not known: the database cannot be reached")
        except RecognizerError as error:
            if error.message != self._problem:
                log.error("the rules cannot be followed: %s", error.message)
            self._problem = error.message
        except Exception:  # an unexpected error must not end the thread
            log.exception("following the rules failed")

    def _follow_only(self, rules: list[Rule]) -> None:
        from recognizer.rules.rule_delivery import RuleDelivery

        wanted = {each.id: each for each in rules}
        for id_ in self._running.keys() - wanted.keys():
            delivery = self._running.pop(id_)
            self._events.hub.remove_sink(delivery)
            delivery.end()
        for id_, rule in wanted.items():
            if id_ in self._running:
                self._running[id_].rule, self._running[id_].since = rule, self.store.since(id_)
                continue
            delivery = RuleDelivery(self._events.hub.log, rule, self.actions(), shared=self._shared)
            delivery.since = self.store.since(id_)  # it may have been made a moment ago, on another node
            self._events.hub.add_sink(delivery)
            self._running[id_] = delivery

    def _begin(self, events: EventLog, id_: str, after: int) -> None:
        """Let a rule begin after an event, unless it has read the events of this server before."""
        cursor = events.folder / f"rule-{id_}.cursor"
        if not cursor.exists():
            Cursor(cursor, after)

    def _changed(self) -> None:
        """Follow a change at once, where this process follows rules at all."""
        if self._thread is not None:
            self._look()

    # -- what is asked ------------------------------------------------------------------------------------------

    def all(self) -> list[RuleState]:
        """Every rule, in the order in which they were made.

        Raises
        ------
        StorageError, KeyMissing
        """
        return [self._state(each) for each in self.store.all()]

    def add(self, given: Mapping[str, Any]) -> RuleState:
        """Store a new rule, which is followed from now on.

        Raises
        ------
        InvalidParameter, InvalidUrl, SubjectNotFound, GroupNotFound, CameraNotFound, EventsOff
            A zone that a camera does not have is an `InvalidParameter`, which lists those that it has.
        ActionOff, TooManyRules
            See the classes.
        StorageError
        """
        events = self._events.hub.log
        checked = self._checked(make_rule("", given), given)  # before the file is locked: it waits for other locks

        def make(id_: str) -> Rule:
            self._begin(events, id_, events.newest())  # now, whichever process follows it
            return replace(checked, id=id_)

        rule = self.store.add(make)
        self._audit.append("rule_add", rule=rule.id, does=rule.action)
        self._changed()
        return self._state(rule)

    def change(self, id_: str, given: Mapping[str, Any]) -> RuleState:
        """Change a rule; raises as `add` does, and `RuleNotFound`."""
        from recognizer.rules.rule_delivery import forget

        events = self._events.hub.log
        before = self.store.get(id_)
        checked = self._checked(changed_rule(before, given), given, before)  # before the file is locked
        named = {name: getattr(checked, name) for name in ("people", "group") if _NAMING & given.keys()}
        named |= {"zones": checked.zones} if "zones" in given else {}

        def change(rule: Rule) -> Rule:
            changed = changed_rule(rule, {**given, **named})
            if changed.enabled and not rule.enabled:  # nothing that happened meanwhile is reported
                forget(events.folder, id_)
                self._begin(events, id_, events.newest())
            return changed

        rule = self.store.change(id_, change)
        self._audit.append("rule_change", rule=id_, does=rule.action)
        self._changed()
        return self._state(rule)

    def remove(self, id_: str) -> None:
        """Remove a rule.

        Raises
        ------
        RuleNotFound, StorageError
        """
        self.store.remove(id_)
        self._audit.append("rule_remove", rule=id_)
        self._changed()

    def test(self, id_: str) -> Rule:
        """Do once, now, what a rule says, as if it had happened.

        Raises
        ------
        RuleNotFound, ActionOff, ActionFailed, InvalidUrl, StorageError
        """
        rule = self.store.get(id_)
        somebody = translated("Somebody with a name", rule.language)
        subject = {"people": "".join(rule.names()[:1]), "group": f"{rule.prefix}{somebody}", "known": somebody}.get(rule.who)
        camera = next(iter(rule.cameras or self._camera_names()), "default")
        event: dict[str, Any] = {
            "id": 0,
            "kind": "left" if rule.kind == "leaves" else "unknown" if subject is None else "appeared",
            "camera": camera,
            "time": iso_time(),
            "subject": subject,
            "thumbnail": None,
        }
        if zones := rule.zones_at(camera):
            event["zones"] = list(zones[:1])
        self._audit.append("rule_test", rule=id_, does=rule.action)
        self.actions().do(rule, event, None, test=True)
        if rule.off_seconds:
            self.actions().switch_off(rule)
        return rule

    @property
    def off(self) -> str | None:
        """Why there can be no rules here."""
        return None if self._events.wanted else EVENTS_OFF

    def _checked(self, rule: Rule, given: Mapping[str, Any], before: Rule | None = None) -> Rule:
        """The rule, if whom and what it names exists as far as that is given anew.

        What the rule named `before` may stay, also where it is gone.
        """
        cameras, lost = ((), ()) if before is None else (before.cameras, before.zones)
        if _NAMING & given.keys() and rule.who in ("people", "group") and not _is_about_the_same(rule, before):
            group = self._groups().get(rule.group)
            held = before.people if before is not None and before.group == group.name else ()
            known = (name if name in held else group.subjects.person(normalise_lookup(name)).name for name in rule.people)
            rule = replace(rule, group=group.name, people=tuple(dict.fromkeys(known)))
        names = self._camera_names() if {"cameras", "zones"} & given.keys() else {}
        for camera in rule.cameras if "cameras" in given else ():
            if camera not in names and camera not in cameras:
                raise CameraNotFound(f"cameras: there is no camera {camera!r}"[:200])
        if "zones" in given:
            zones = (each if each in lost else self._zone(each, names) for each in rule.zones)
            rule = replace(rule, zones=tuple(dict.fromkeys(zones)))
        if rule.enabled:
            self.actions().check(rule)
        return rule

    def _zone(self, zone: str, cameras: Mapping[str, str]) -> str:
        """A zone as its camera has it, whatever the case of its letters.

        Raises
        ------
        CameraNotFound, InvalidParameter
        """
        camera, name = zone_parts(zone)
        if camera not in cameras:
            raise CameraNotFound(f"zones: there is no camera {camera!r}"[:200])
        there = self._zone_names(camera)
        wanted = " ".join(name.split()).casefold()
        found = next((each for each in there if each.casefold() == wanted), None)
        if found is None:
            has = f"it has {', '.join(there)}" if there else "it has none with a name"
            raise InvalidParameter(f"zones: the camera {camera} has no zone {brief(name)!r}; {has}")
        return f"{camera}{ZONE_SEPARATOR}{found}"

    def _lost_zones(self, rule: Rule) -> tuple[str, ...]:
        cameras = {zone_parts(each)[0] for each in rule.zones}
        there = {camera: {each.casefold() for each in self._zone_names(camera)} for camera in cameras}
        parts = ((each, *zone_parts(each)) for each in rule.zones)
        return tuple(each for each, camera, name in parts if name.casefold() not in there.get(camera, ()))

    def _state(self, rule: Rule) -> RuleState:
        names = self._camera_names()
        with self._lock:
            running = self._running.get(rule.id)
        if running is not None and not running.started:  # another process writes the events
            running = None
        problem, code = (None, None) if running is None else (running.problem, running.problem_code)
        lost = self._lost_zones(rule)
        if problem is None and rule.enabled:
            problem, code = self._obstacle(rule, names, lost)
        counts = None if running is None else dict(running.counts)
        last = None if running is None else running.last_sent
        return RuleState(rule, rule.sentence(names), problem, counts, last, lost, code)

    def _obstacle(self, rule: Rule, cameras: Mapping[str, str], lost: Sequence[str]) -> tuple[str | None, str | None]:
        """Why a rule cannot be followed as it is, in words and as a code; `lost` are zones that are gone."""
        if not self._events.wanted:
            return EVENTS_OFF, EventsOff.code
        if rule.cameras and not set(rule.cameras) & cameras.keys():
            return "none of its cameras exists any longer", CAMERAS_GONE
        zones = {camera: [each for each in rule.zones if zone_parts(each)[0] == camera] for camera in rule.cameras}
        if rule.cameras and all(each not in cameras or (own and set(own) <= set(lost)) for each, own in zones.items()):
            return "none of its zones exists any longer", ZONES_GONE
        try:
            if rule.who in ("people", "group"):
                self._groups().get(rule.group)
            self.actions().check(rule)
        except RecognizerError as error:
            return error.message, error.code
        return None, None

    def zones_changed(self, camera: str, names: Mapping[str, str]) -> None:
        """Follow that zones of a camera got other names: `names` has the new ones by the old ones.

        Where the rules cannot be stored they keep the old names, which are then `RuleState.lost_zones`.
        """
        if not names:
            return
        try:
            self.store.rename_zones(camera, names)
        except RecognizerError as error:
            log.warning("the rules keep the old names of the zones of %s: %s", camera, error.message)
        self._changed()

    # -- one person ---------------------------------------------------------------------------------------------

    def find(self, name: str) -> list[RuleState]:
        """The rules that mention a person, by the name in events."""
        return [RuleState(each, each.sentence({})) for each in self.store.find(name)]

    def rename(self, old: str, new: str) -> None:
        """Give a person another name in all rules."""
        self.store.rename(old, new)
        self._changed()

    def erase(self, name: str) -> None:
        """Take a person out of every rule, and the name off the broker where a rule let it retain that."""
        retained = []
        with suppress(DamagedRules):
            retained = [each for each in self.store.find(name) if each.retain and sends(each, name)]
        self.store.erase(name)
        self._changed()
        for rule in retained:
            try:
                if self.actions().broker is not None:
                    self.actions().publish(rule.topic or "", "", retain=True)  # which ends that a message is retained
            except RecognizerError as error:
                log.warning("a broker may still retain what a rule sent about somebody who was erased: %s", error.message)


def _is_about_the_same(rule: Rule, before: Rule | None) -> bool:
    """Whether a changed rule is about whom it was about before."""
    return before is not None and (rule.who, rule.group, rule.people) == (before.who, before.group, before.people)
