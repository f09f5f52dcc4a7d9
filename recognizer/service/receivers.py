"""Where events are sent: by the settings, and by what was set instead while the server runs; and what delivers them.

Other processes that use the state folder notice a change within a second: the one that writes the events delivers them. So do
the nodes of a database, each for the events that it has.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recognizer.core.audit import AuditLog
from recognizer.core.brief import brief
from recognizer.core.errors import (
    ActionFailed,
    ActionOff,
    AddressRefused,
    DatabaseAway,
    FetchError,
    InvalidParameter,
    ReceiverNotFound,
    RecognizerError,
    SettingFixed,
    SettingsError,
    StorageError,
)
from recognizer.core.origins import Address
from recognizer.core.settings import (
    DEFAULT,
    PAGE,
    PREFIX,
    RECEIVER_SETTINGS,
    FoundSetting,
    Settings,
    default_of,
    parsed_value,
)
from recognizer.core.times import iso_time
from recognizer.events.appearances import KINDS
from recognizer.events.receiver_store import MQTT, ReceiverStore
from recognizer.events.webhooks import WebhookRules, post_message, shown, webhook_id, why_refused
from recognizer.fetching.addresses import resolve
from recognizer.service.delivering import (
    DeliveryTools,
    WantedReceiver,
    broker_of,
    frigate_api,
    webhook_fetcher,
    webhook_key,
)
from recognizer.service.event_service import KeptEvents
from recognizer.service.rule_service import EVENTS_OFF
from recognizer.video.sources.reach import Reach

if TYPE_CHECKING:
    from recognizer.events.delivery import Delivery

log = logging.getLogger("recognizer.events")

MOST_WEBHOOKS = 20
#: What can be changed here, for `http`, which does not know the settings.
SETTING_NAMES = RECEIVER_SETTINGS
#: Settings that say the same thing as others, or belong to them: where one of them has a value, none can be changed.
_TOGETHER = {
    "webhook_secret": ("webhook_secret", "webhook_secret_file"),
    "mqtt_url": ("mqtt_url", "mqtt_password", "mqtt_password_file"),
    "mqtt_password": ("mqtt_url", "mqtt_password", "mqtt_password_file"),
}
#: What a text is taken away by; an empty text does as well.
_NONE = ("", "none")
_LONGEST = 2000
_LOOK_SECONDS = 1.0
_RESOLVE_SECONDS = 5.0


@dataclass(frozen=True)
class _Running:
    wanted: WantedReceiver
    delivery: Delivery


class Receivers:
    """Owns what delivers events, and changes where they are sent. Any thread may call.

    Parameters
    ----------
    settings : Settings
        What they say takes precedence.
    store : ReceiverStore
        What was set while the server ran.
    events : KeptEvents
    audit : AuditLog
    changed : callable
        Called when the settings in force have changed.
    """

    def __init__(
        self,
        settings: Settings,
        store: ReceiverStore,
        events: KeptEvents,
        audit: AuditLog,
        changed: Callable[[], None] = lambda: None,
    ):
        self.store = store
        self._settings, self._events, self._audit, self._changed = settings, events, audit, changed
        self._lock = threading.RLock()
        self._in_force = settings
        self._applied: Settings | None = None  # those by which events are delivered now
        self._tools: DeliveryTools | None = None
        self._running: dict[str, _Running] = {}  # replaced, never changed
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: str | None = None  # why what was set while the server ran cannot be read
        self._obstacle: str | None = None  # why it cannot be followed

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, tools: DeliveryTools) -> None:
        """Deliver events from now on; only in a server.

        Raises
        ------
        SettingsError
        """
        settings = self._settings
        if settings.frigate_url:
            frigate_api(settings)
            if settings.accepts_any_frigate:
                log.warning("RECOGNIZER_FRIGATE_VERIFY is off: whoever redirects the connection to Frigate reads the password")
            if not self.in_force().mqtt_url or not self._events.wanted:
                log.warning("Frigate's events are not followed: RECOGNIZER_MQTT_URL is not set, or RECOGNIZER_EVENTS is off")
        if not self._events.wanted:
            return
        with suppress(StorageError):  # which is met below
            tools.wanted(settings)  # what the environment says must be right; what is stored is only logged
        self._tools = tools
        try:
            self._apply()
        except StorageError as error:  # the events cannot be read or written for now: it is tried again
            self._note(error)
        except RecognizerError as error:
            if self.in_force() == settings:
                raise
            self._note(error)  # of what was set while the server ran: the rest of the server works without
        self._thread = threading.Thread(target=self._follow, name="receivers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Change nothing any more; the deliveries end with the events."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _follow(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        """Deliver to exactly those that the settings in force name; failures are noted, and tried again."""
        try:
            self._apply()
        except RecognizerError as error:
            self._note(error)
        except Exception:  # an unexpected error must not end the thread
            log.exception("changing where events are sent failed")

    def _apply(self) -> None:
        with self._lock:
            settings = self.in_force()
            if settings == self._applied or self._tools is None or self._ending.is_set():
                return
            self._changed()
            self._deliver_to(self._tools.wanted(settings))
            self._applied, self._obstacle = settings, None

    def _note(self, error: RecognizerError) -> None:
        """Log once why the settings in force are not followed."""
        if error.message != self._obstacle:
            log.error("where events are sent cannot be changed: %s", error.message)
        self._obstacle = error.message

    def _deliver_to(self, receivers: list[WantedReceiver]) -> None:
        wanted = {each.key: each for each in receivers}
        left = {key: each for key, each in self._running.items() if wanted.get(key) == each.wanted}
        gone = self._running.keys() - left.keys()
        for key in gone:
            self._running[key].delivery.stop_soon()
        for key in gone:
            self._end(self._running[key].delivery, wanted.get(key))
        self._running = left
        for key, receiver in wanted.items():
            if key not in left:
                delivery = receiver.make()
                delivery.since = self.store.since(key)
                self._running = {**self._running, key: _Running(receiver, delivery)}
                self._events.hub.add_sink(delivery)

    def _end(self, delivery: Delivery, successor: WantedReceiver | None) -> None:
        """Deliver nothing more to a receiver, for good unless there is one that takes its place."""
        from recognizer.events.mqtt import Mqtt

        self._events.hub.remove_sink(delivery)
        if isinstance(delivery, Mqtt):
            delivery.leaves = successor is None or not delivery.has_same_topics(*successor.recipe)
        delivery.stop()
        if successor is None:
            delivery.forget()

    # -- the settings -------------------------------------------------------------------------------------------

    def in_force(self) -> Settings:
        """All settings, with those that were set while the server ran; while these cannot be read, those from before."""
        try:
            self._in_force = self._with(self.store.all())
            self._problem = None
        except DatabaseAway:
            log.debug("changes of where events are sent are not known: the database cannot be reached")
        except RecognizerError as error:
            if error.message != self._problem:
                log.error("settings that were changed while running are not used: %s", error.message)
            self._problem = error.message
        return self._in_force

    def fixed_by(self, name: str) -> str | None:
        """Where a setting of `RECEIVER_SETTINGS` is fixed; None if it can be changed here."""
        for each in _TOGETHER.get(name, (name,)):
            source, label = self._settings.source(each)
            if source != DEFAULT:
                return label
        return None

    def _with(self, stored: Mapping[str, Any]) -> Settings:
        """The settings with stored values, as far as these can be used."""
        values, found = {}, dict(self._settings.found)
        for name, value in stored.items():
            if self.fixed_by(name) is not None:
                continue
            try:
                values[name] = _typed(name, value)
            except SettingsError as error:  # somebody wrote the file by hand
                log.error("a setting that was changed while running is ignored: %s", error.message)
                continue
            found[name] = FoundSetting(name, "", PAGE, PREFIX + name.upper())
        return self._settings.replace(**values, found=found)

    def permits(self, address: Address) -> bool:
        """Whether a broker that was set here may have this address: one of a private network or of the Internet."""
        return Reach(("lan", "public", *self._settings.webhook_allow)).permits(address)

    def change(self, given: Mapping[str, Any]) -> None:
        """Change some of `RECEIVER_SETTINGS`, also after a restart; at once and for all processes.

        Parameters
        ----------
        given : mapping
            Values by name: texts, a truth value for ``mqtt_double_take``, lists of texts for ``webhooks`` (URLs, or ids of
            webhooks that stay) and ``webhook_events``. An empty text or ``none`` removes one.

        Raises
        ------
        SettingFixed, InvalidParameter, InvalidUrl, AddressRefused, StorageError, KeyMissing, DatabaseAway
        """
        if not given:
            raise InvalidParameter(f"expected some of {', '.join(RECEIVER_SETTINGS)}")
        for name in given:
            fixed = self.fixed_by(name)
            if fixed is not None:
                raise SettingFixed(f"{name} is set by {fixed}, and can only be changed there", setting=fixed)
        checked = self._checked(given)
        before = self.store.all()
        after = self.store.change(lambda stored: self._changed_values(stored, checked))
        for name in RECEIVER_SETTINGS:
            if before.get(name) != after.get(name):
                self._audit.append("setting_change", setting=name, value=_audited(name, after.get(name, default_of(name))))
                log.info("%s was changed", name)
        self._look()

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What is given, as far as it can be checked without what is stored."""
        checked = dict(given)
        for name, value in given.items():
            if name in ("webhook_secret", "mqtt_url", "mqtt_password", "mqtt_discovery") and value in _NONE:
                checked[name] = "none" if name == "mqtt_discovery" else None
                continue
            if isinstance(value, str) and (not value.isprintable() or len(value) > _LONGEST):
                raise InvalidParameter(f"{name}: expected printable text of at most {_LONGEST} characters")
            if name != "webhooks":
                try:
                    checked[name] = _plain(_typed(name, value))
                except SettingsError as error:
                    raise InvalidParameter(error.message) from None
        return checked

    def _changed_values(self, stored: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        values = {**stored, **given}
        if "webhooks" in given:
            values["webhooks"] = self._webhooks(stored.get("webhooks", []), given["webhooks"])
        if {"mqtt_url", "mqtt_password"} & given.keys():
            self._join_broker(stored, values, given)
        plain = {name: value for name, value in values.items() if value is not None and value != _plain(default_of(name))}
        try:
            settings = self._with(plain)
            WebhookRules(webhook_key(settings), kinds=settings.webhook_events)
            if settings.mqtt_url:
                broker_of(settings, self.permits)
        except SettingsError as error:
            raise InvalidParameter(error.message) from None
        return plain

    def _webhooks(self, stored: list[str], given: list[str]) -> list[str]:
        known = {webhook_id(url): url for url in stored}
        urls = list(dict.fromkeys(known.get(each, each) for each in given))
        if len(urls) > MOST_WEBHOOKS:
            raise InvalidParameter(f"webhooks: expected at most {MOST_WEBHOOKS}, got {len(urls)}")
        fetcher = webhook_fetcher(self._settings)
        for url in urls:
            if url in stored:
                continue
            if not url.startswith(("http://", "https://")) or len(url) > _LONGEST or not url.isprintable() or " " in url:
                raise InvalidParameter("webhooks: expected URLs that begin with http:// or https://, or ids of webhooks")
            fetcher.check(url)
        return urls

    def _join_broker(self, stored: Mapping[str, Any], values: dict[str, Any], given: Mapping[str, Any]) -> None:
        """Take the password out of the broker's URL, so that the URL can be shown; it goes to no other broker."""
        if values.get("mqtt_url") is None:
            if given.get("mqtt_password"):
                raise InvalidParameter("mqtt_password: there is no broker; give mqtt_url as well")
            values["mqtt_password"] = None
            return
        try:
            broker = broker_of(self._settings.replace(mqtt_url=values["mqtt_url"]), self.permits)
            old = stored.get("mqtt_url") and broker_of(self._settings.replace(mqtt_url=stored["mqtt_url"]), self.permits)
        except SettingsError as error:
            raise InvalidParameter(error.message) from None
        for each in (broker.user, broker.password):
            if each is not None and not each.isprintable():
                raise InvalidParameter("mqtt_url: expected a user and a password of printable characters")
        if "mqtt_password" not in given:
            if broker.password:
                values["mqtt_password"] = broker.password
            elif values.get("mqtt_password") and (not old or old.shown != broker.shown):
                raise InvalidParameter("mqtt_password: expected it again, or none, because it would go to another broker")
        if values.get("mqtt_password") and not broker.user:
            raise InvalidParameter("mqtt_url: expected a user as well, because there is a password")
        self._permit(broker.host, broker.port)
        values["mqtt_url"] = broker.url

    def _permit(self, host: str, port: int) -> None:
        """See that a broker may be reached; one whose name has no address now may get one."""
        try:
            addresses = resolve(host, port, _RESOLVE_SECONDS)
        except FetchError:
            return
        if not all(map(self.permits, addresses)):
            raise AddressRefused(
                f"{host} leads to an address that is not allowed; RECOGNIZER_WEBHOOK_ALLOW lists those that are",
                host=host,
            )

    # -- what is asked ------------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """Where events are sent, how that goes, and what cannot be changed here. Contains no secrets.

        Raises
        ------
        StorageError, KeyMissing
        """
        self.store.all()  # what cannot be read is reported
        settings = self.in_force()
        broker = None if not settings.mqtt_url else broker_of(settings, self.permits)
        fixed = {name: self.fixed_by(name) for name in RECEIVER_SETTINGS}
        running = self._running
        return {
            "off": None if self._events.wanted else EVENTS_OFF,
            "webhooks": [
                {"id": webhook_id(url), "url": shown(url), "state": _state(running.get(webhook_id(url)))}
                for url in dict.fromkeys(settings.webhooks)
            ],
            "webhook_signed": webhook_key(settings) is not None,
            "webhook_events": list(settings.webhook_events),
            "event_kinds": list(KINDS),
            "mqtt": None
            if broker is None
            else {"url": broker.url, "password": broker.password is not None, "state": _state(running.get(MQTT))},
            "mqtt_prefix": settings.mqtt_prefix,
            "mqtt_discovery": settings.mqtt_discovery,
            "mqtt_double_take": settings.mqtt_double_take,
            "others": [
                {"name": each.delivery.label, "state": _state(each)}
                for each in running.values()
                if each.wanted.key != MQTT and not each.delivery.name.startswith("webhook-")
            ],
            "fixed": {name: label for name, label in fixed.items() if label is not None},
        }

    def test(self, receiver: str) -> str:
        """Send a test event to a webhook, by its id, or to the broker (``mqtt``); returns when it was taken.

        Raises
        ------
        ReceiverNotFound, ActionFailed, ActionOff
        """
        settings = self.in_force()
        event = {"id": 0, "kind": "test", "camera": "test", "time": iso_time(), "subject": None, "test": True}
        body = json.dumps(event)
        if receiver == MQTT:
            if not settings.mqtt_url:
                raise ActionOff("there is no MQTT broker")
            from recognizer.events.mqtt_broker import publish_once

            self._audit.append("receiver_test", receiver=MQTT)
            publish_once(broker_of(settings, self.permits), f"{settings.mqtt_prefix}/test", body)
            return MQTT
        url = next((each for each in settings.webhooks if webhook_id(each) == receiver), None)
        if url is None:
            raise ReceiverNotFound(f"there is no receiver {brief(receiver)!r}", receiver=brief(receiver))
        self._audit.append("receiver_test", receiver=receiver)
        number = f"recognizer-test-{secrets.token_hex(4)}"
        try:
            post_message(webhook_fetcher(settings), url, number, int(time.time()), body.encode(), webhook_key(settings))
        except FetchError as error:
            raise ActionFailed(f"the webhook was not called: {why_refused(error)}", **error.details) from None
        return receiver


def _typed(name: str, value: Any) -> Any:
    """A value of JSON as the setting has it.

    Raises
    ------
    SettingsError
        It is not one.
    """
    default = default_of(name)
    if isinstance(default, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(default, tuple):
        if isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value):
            return tuple(value) if name == "webhooks" else parsed_value(name, ",".join(value))
    elif isinstance(value, str) and value:
        return parsed_value(name, value)
    raise SettingsError(f"{name}: the value is not of the right kind")


def _plain(value: Any) -> Any:
    """A setting's value as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _audited(name: str, value: Any) -> Any:
    """What the audit log says about a new value: of a secret only whether there is one, of URLs no secret part."""
    if name in ("webhook_secret", "mqtt_password"):
        return "set" if value else "not set"
    if name == "webhooks":
        return ", ".join(shown(each) for each in value) or "none"
    if name == "webhook_events":
        return ", ".join(value) or "all"
    return "none" if value is None else value  # the broker's URL is stored without the password


def _state(running: _Running | None) -> dict[str, Any] | None:
    """How the delivery to a receiver goes; None where this process does not deliver to it."""
    if running is None or not running.delivery.started:
        return None
    delivery = running.delivery
    return {**delivery.counts, "waiting": delivery.waiting, "problem": delivery.problem}
