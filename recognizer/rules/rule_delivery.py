"""Delivery of a rule's messages: off the event log, by a cursor of its own, so that a restart loses nothing.

A message may be sent twice, if the process ends between sending it and noting that. How often a rule may report somebody is
decided by the events that it has reported, whose ids are stored; who they were about is read from the log, so that no name
is stored here.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from recognizer.core.errors import RecognizerError
from recognizer.core.files import write_durably
from recognizer.events.delivery import Delivery, backoff
from recognizer.events.event_files import seconds
from recognizer.events.event_log import EventLog
from recognizer.rules.rule_actions import RuleActions, why
from recognizer.rules.rule_model import Rule
from recognizer.rules.rule_reports import SharedReports

log = logging.getLogger("recognizer.rules")

_BACKLOG = 10_000
#: How many of the last reported events are stored, at most.
_MOST_SENT = 1000
#: Statuses that refuse a message: repeating it is useless.
_REFUSALS = {400, 413, 415, 422}
_TRIES_REFUSED = 3
_HOUR = 3600.0
#: Seconds between two looks for what other nodes did not switch off.
_LOOK_SECONDS = 5.0
#: Stands for whom an event was about that is no longer stored.
_GONE = object()


class Sent:
    """Which events a rule has reported, and what it still has to switch off: a file beside the cursor. One thread owns it.

    Attributes
    ----------
    events : dict
        Id of an event -> when it was reported, in seconds since 1970.
    off_at : float or None
        When something is to be switched off.
    """

    def __init__(self, file: Path):
        self._file = file
        self.events: dict[int, float] = {}
        self.off_at: float | None = None
        try:
            stored = json.loads(file.read_bytes())
            self.events = {int(number): float(moment) for number, moment in stored["sent"]}
            self.off_at = None if stored["off_at"] is None else float(stored["off_at"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError):
            log.warning("%s was damaged: how often its rule was reported begins anew", file.name)

    def note(self, number: int, now: float, keep: float, off_at: float | None) -> None:
        """Note that an event was reported; those of more than `keep` seconds ago are forgotten."""
        recent = {each: moment for each, moment in self.events.items() if moment > now - keep}
        self.events = dict([*recent.items(), (number, now)][-_MOST_SENT:])
        self.off_at = off_at
        self._write()

    def switched_off(self) -> None:
        """Note that nothing is to be switched off any more."""
        self.off_at = None
        self._write()

    def _write(self) -> None:
        try:
            write_durably(self._file, json.dumps({"sent": list(self.events.items()), "off_at": self.off_at}).encode())
        except OSError as error:  # reported again after a restart
            log.warning("%s cannot be written: %s", self._file.name, error.strerror)


class RuleDelivery(Delivery):
    """Does what one rule says.

    Parameters
    ----------
    rule : Rule
        May be replaced by a changed one, by any thread.
    actions : RuleActions
    now : callable
        Seconds since 1970.
    least, most : float
        Seconds before the second try, and the longest wait between two.
    shared : SharedReports, optional
        What the rule reported on other nodes; while that cannot be read, only what it reported here counts.

    Attributes
    ----------
    since : float
        Events before this are not reported, in seconds since 1970.
    """

    def __init__(
        self,
        events: EventLog,
        rule: Rule,
        actions: RuleActions,
        now: Callable[[], float] = time.time,
        least: float = 2.0,
        most: float = 300.0,
        shared: SharedReports | None = None,
    ):
        super().__init__(events, f"rule-{rule.id}", _BACKLOG)
        self.rule, self._actions, self._now, self._waits = rule, actions, now, (least, most)
        self.counts["held_back"] = 0
        self.problem_code: str | None = None  # of the error behind `problem`
        self.since = 0.0
        self._shared = shared
        self._claimed: int | None = None  # the event that counts as reported on all nodes
        #: When a message was last sent, in seconds since 1970; None if none was since the start.
        self.last_sent: float | None = None
        self._failures = 0
        self._edition: object = None  # of the log, when `_subjects` were read from it
        self._subjects: dict[int, object] = {}
        self._off_failures, self._off_again = 0, 0.0
        self._look_again = 0.0  # for what other nodes did not switch off

    def start(self) -> None:
        self._sent = Sent(self.events.folder / f"{self.name}.sent")
        super().start()

    def deliver(self, event: dict) -> None:
        """Do what the rule says about an event, if it is about it, until that is done or given up."""
        if seconds(event["time"]) < self.since:
            return
        if not self._report(event) and self._claimed == event["id"] and self._shared is not None:
            self._shared.give_back(self.rule, event)
        self._claimed = None

    def _report(self, event: dict) -> bool:
        """Whether an event is reported now, or was before."""
        refusals = 0
        while True:
            rule = self.rule
            if event["id"] in self._sent.events:
                return True
            if not self._concerns(rule, event):
                return False
            age = self._now() - seconds(event["time"])
            if age > rule.late_minutes * 60:
                log.warning("rule %s: event %d is dropped: it was %d s ago", rule.id, event["id"], age)
                self.counts["dropped"] += 1
                return False
            if self._is_held_back(rule, event):
                self.counts["held_back"] += 1
                return False
            try:
                self._actions.do(rule, event, self._picture(event) if rule.picture else None)
            except RecognizerError as error:
                self._failures += 1
                refusals += error.details.get("status") in _REFUSALS
                self._note(error)
                if refusals >= _TRIES_REFUSED:
                    log.warning("rule %s: event %d is dropped: %s", rule.id, event["id"], why(error))
                    self.counts["dropped"] += 1
                    return False
                self.counts["retried"] += 1
                self._wait(rule, max(error.retry_after or 0.0, backoff(self._failures, *self._waits)))
                stored = self.renewed(event)  # its person may have been erased or renamed meanwhile
                if stored is None:
                    self.counts["dropped"] += 1
                    return False
                event = stored
            else:
                self._done(rule, event)
                return True

    def _wait(self, rule: Rule, wanted: float) -> None:
        """Wait so many seconds, or until the rule is changed.

        Raises
        ------
        Stopped
        """
        until = time.monotonic() + wanted
        while self.rule is rule and (left := until - time.monotonic()) > 0:
            self.pause(min(0.5, left))

    def _done(self, rule: Rule, event: dict) -> None:
        now = self._now()
        off_at = now + rule.off_seconds if rule.off_seconds else self._sent.off_at
        self._sent.note(event["id"], now, max(_HOUR, rule.apart_minutes * 60), off_at)
        if rule.off_seconds and self._shared is not None:
            with suppress(RecognizerError):  # then several nodes switch off, each when it thinks it is time
                self._shared.note_switched_on(rule)
        self.counts["delivered"] += 1
        self.last_sent, self._failures = now, 0
        self._note(None)

    def _concerns(self, rule: Rule, event: dict) -> bool:
        try:
            return rule.enabled and rule.concerns(event, self._rate(event))
        except RecognizerError as error:  # a time zone that is missing here
            self._note(error)
            return False

    def _picture(self, event: dict) -> bytes | None:
        """The picture of the face; of somebody who left or entered a zone, that of when they appeared."""
        return self.events.thumbnail(event["id"]) or self.events.thumbnail(event.get("appearance", event["id"]))

    def _rate(self, event: dict) -> float | None:
        """The false-match rate with which a person was recognised; of somebody who left or entered a zone, when they
        appeared."""
        if event["kind"] in ("left", "entered") and event.get("false_match_rate") is None and "appearance" in event:
            event = self.events.get(event["appearance"]) or event
        return event.get("false_match_rate")

    def _is_held_back(self, rule: Rule, event: dict) -> bool:
        now = self._now()
        if sum(moment > now - _HOUR for moment in self._sent.events.values()) >= rule.most_per_hour:
            return True
        recent = (number for number, moment in self._sent.events.items() if moment > now - rule.apart_minutes * 60)
        if any(self._is_about(number, event.get("subject")) for number in recent):
            return True
        if self._shared is None or self._claimed == event["id"]:
            return False
        try:
            allowed = self._shared.claim(rule, event)
        except RecognizerError as error:
            log.debug("rule %s: what other nodes reported is not known: %s", rule.id, error.message)
            return False
        self._claimed = event["id"] if allowed else None
        return not allowed

    def _is_about(self, number: int, subject: str | None) -> bool:
        """Whether an event that was reported is about a person; all unknown people count as one."""
        edition = self.events.edition
        if edition != self._edition or len(self._subjects) > 2 * _MOST_SENT:  # somebody was erased or renamed
            self._subjects, self._edition = {}, edition
        if number not in self._subjects:
            stored = self.events.get(number)
            self._subjects[number] = _GONE if stored is None else stored.get("subject")
        return self._subjects[number] == subject

    def _note(self, error: RecognizerError | None) -> None:
        """Log once that a rule cannot be followed, and once that it can be again."""
        problem = None if error is None else why(error)
        if problem and not self.problem:
            log.warning("rule %s cannot be followed and is tried again: %s", self.rule.id, problem)
        elif self.problem and not problem:
            log.info("rule %s is followed again", self.rule.id)
        self.problem, self.problem_code = problem, None if error is None else error.code

    # -- switching off ------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        self._switch_off()
        super()._hand_over()

    def _switch_off(self) -> None:
        """Publish what ends the rule's action, once it is time."""
        now = self._now()
        if self._sent.off_at is None and self._takes_over():
            self._sent.off_at = now
        if self._sent.off_at is None or now < max(self._sent.off_at, self._off_again):
            return
        if self.rule.off_seconds and self._is_last():
            try:
                self._actions.switch_off(self.rule)
            except RecognizerError as error:
                self._off_failures += 1
                self._off_again = now + backoff(self._off_failures, *self._waits)
                self._note(error)
                return
            if self._shared is not None:
                with suppress(RecognizerError):  # then another node switches it off once more
                    self._shared.note_switched_off(self.rule)
        self._off_failures = 0
        self._sent.switched_off()

    def _takes_over(self) -> bool:
        """Whether another node is gone, and what it switched on is to be switched off here."""
        if self._shared is None or not self.rule.off_seconds or time.monotonic() < self._look_again:
            return False
        self._look_again = time.monotonic() + _LOOK_SECONDS
        try:
            return self._shared.take_over(self.rule)
        except RecognizerError:
            return False

    def _is_last(self) -> bool:
        """Whether no other node switched the same on since this one did; not while that cannot be known."""
        if self._shared is None:
            return True
        try:
            return self._shared.switches_off(self.rule)
        except RecognizerError:
            return True

    def end(self) -> None:
        """Stop for good: switch off at once what is on, and forget how far the events were read."""
        self.stop()
        if self._thread is not None and self._sent.off_at is not None:
            self._sent.off_at = self._off_again = 0.0
            self._switch_off()
        forget(self.events.folder, self.rule.id)


def forget(folder: Path, id_: str) -> None:
    """Forget how far a rule has read the events, and what it has reported."""
    for ending in ("cursor", "sent"):
        with suppress(OSError):
            (folder / f"rule-{id_}.{ending}").unlink(missing_ok=True)
