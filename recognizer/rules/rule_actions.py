"""What rules do: a notification by Apprise or in browsers, a webhook, or a message to the MQTT broker, done once."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recognizer.core.catalogues import translated
from recognizer.core.children import child_environment
from recognizer.core.errors import ActionFailed, ActionOff, AddressRefused, FetchError, RecognizerError
from recognizer.events.delivery import of_node
from recognizer.events.mqtt_broker import Broker, publish_once
from recognizer.events.webhooks import post_message
from recognizer.fetching.fetcher import Fetcher
from recognizer.rules.apprise_process import REFUSED
from recognizer.rules.push_sender import PushMessage, PushSender
from recognizer.rules.rule_model import Rule

NOTIFY_MISSING = "notifications need the package Apprise: pip install 'recognizer[notify]'"
BROKER_MISSING = "there is no MQTT broker: it is set on the page, under Settings, or by RECOGNIZER_MQTT_URL"
PUSH_MISSING = "notifications in browsers are not available here"
_TITLE = "Recognizer"
#: What is in the title of a message that is a test.
_TEST = "only a test"
#: What the process of a notification runs: with this one's path, wherever it is started.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from recognizer.rules import apprise_process as a; a.main()"
_NOTIFY_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class RuleTools:
    """What the actions of rules need.

    Attributes
    ----------
    fetcher : Fetcher
        Posts webhooks; refuses forbidden addresses.
    allow : sequence of str
        Private networks that notifications may reach.
    key : bytes, optional
        Signs webhooks.
    broker : Broker, optional
    reserved : sequence of str
        First levels of the topics that this server publishes itself.
    camera_name : callable
        The name of a camera, by its id.
    push : PushSender, optional
        Sends to browsers.
    node : str, optional
        The id of this node, where nodes share a database: each numbers its own events.
    """

    fetcher: Fetcher
    allow: Sequence[str] = ()
    key: bytes | None = None
    broker: Broker | None = None
    reserved: Sequence[str] = ()
    camera_name: Callable[[str], str] = str
    push: PushSender | None = None
    node: str | None = None


class RuleActions:
    """Does what rules say. Any thread may call."""

    def __init__(self, tools: RuleTools):
        self._tools = tools

    def take_over(self, other: RuleActions) -> None:
        """Do everything as another one does from now on: the settings behind it have changed."""
        self._tools = other._tools

    @property
    def broker(self) -> Broker | None:
        return self._tools.broker

    def check(self, rule: Rule) -> None:
        """See that a rule's action can be done here, and goes where it may.

        Raises
        ------
        ActionOff
            A package or a setting is missing.
        InvalidUrl
        """
        if rule.action == "notify":
            if not can_notify():
                raise ActionOff(NOTIFY_MISSING)
        elif rule.action == "push":
            if self._tools.push is None:
                raise ActionOff(PUSH_MISSING)
        elif rule.action == "webhook":
            self._tools.fetcher.check(rule.url or "")
        else:
            if self.broker is None:
                raise ActionOff(BROKER_MISSING)
            topic = rule.topic or ""
            for first in self._tools.reserved:
                if topic == first or topic.startswith(f"{first}/"):
                    raise ActionOff(f"topics that begin with {first}/ are published by this server itself: choose another one")

    def do(self, rule: Rule, event: Mapping[str, Any], picture: bytes | None, test: bool = False) -> None:
        """Do once what a rule says.

        Parameters
        ----------
        event : mapping
        picture : bytes or None
            The JPEG of the face.
        test : bool
            Whether nobody came, and somebody wants to see what would happen.

        Raises
        ------
        ActionOff, ActionFailed, InvalidUrl
        """
        self.check(rule)
        if rule.action == "notify":
            text = rule.notification(event, self._tools.camera_name(event["camera"]))
            title = f"{_TITLE}: {translated(_TEST, rule.language)}" if test else _TITLE
            notify(rule.url or "", title, text, picture if rule.picture else None, self._tools.allow)
        elif rule.action == "push":
            text = rule.notification(event, self._tools.camera_name(event["camera"]))
            title = f"{_TITLE}: {translated(_TEST, rule.language)}" if test else _TITLE
            number = secrets.token_hex(4) if test else event["id"]
            assert self._tools.push is not None  # `check` says so
            self._tools.push.send(PushMessage(title, text, f"rule-{rule.id}-{self._of_node(number)}"))
        elif rule.action == "webhook":
            self._post(rule, event, test)
        else:
            self.publish(rule.topic or "", rule.payload or "", rule.retain)

    def _of_node(self, number: object) -> str:
        """The number of an event, such that no other node has the same."""
        return str(number) if self._tools.node is None else f"{self._tools.node}-{number}"

    def switch_off(self, rule: Rule) -> None:
        """Publish what ends a rule's action.

        Raises
        ------
        ActionOff, ActionFailed
        """
        if self.broker is None:
            raise ActionOff(BROKER_MISSING)
        self.publish(rule.topic or "", rule.off_payload or "", rule.retain)

    def _post(self, rule: Rule, event: Mapping[str, Any], test: bool) -> None:
        told = {"rule": rule.id, "test": test, "event": of_node(dict(event), self._tools.node)}
        body = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
        id_ = f"recognizer-rule-{rule.id}-{self._of_node(secrets.token_hex(4) if test else event['id'])}"
        try:
            post_message(self._tools.fetcher, rule.url or "", id_, int(time.time()), body, self._tools.key)
        except FetchError as error:
            said = REFUSED if isinstance(error, AddressRefused) else error.message
            failed = ActionFailed(f"the webhook was not called: {said}", **error.details)
            failed.retry_after = error.retry_after
            raise failed from None

    def publish(self, topic: str, payload: str, retain: bool) -> None:
        """Publish a message, and return when the broker has it.

        Raises
        ------
        ActionFailed
        """
        assert self.broker is not None
        publish_once(self.broker, topic, payload, retain)


def can_notify() -> bool:
    """Whether Apprise is installed."""
    return importlib.util.find_spec("apprise") is not None


def notify(url: str, title: str, text: str, picture: bytes | None, allow: Sequence[str]) -> None:
    """Send a notification by Apprise, in a process of its own.

    Raises
    ------
    ActionFailed
    """
    asked = {
        "url": url,
        "title": title,
        "body": text,
        "picture": None if picture is None else base64.b64encode(picture).decode(),
        "allow": [str(each) for each in allow],
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", _START, json.dumps([os.path.abspath(each) if each == "" else each for each in sys.path])],
            input=json.dumps(asked).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_NOTIFY_SECONDS,
            env=child_environment(),
            check=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        problem = json.loads(done.stdout.splitlines()[-1])["problem"]
    except subprocess.TimeoutExpired:
        raise ActionFailed(f"the service did not answer within {_NOTIFY_SECONDS:g} seconds") from None
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError, KeyError):
        raise ActionFailed("Apprise could not be run") from None
    if problem:
        raise ActionFailed(f"the notification was not sent: {problem}")


def why(error: Exception) -> str:
    """What went wrong, for the log and the page."""
    return error.message if isinstance(error, RecognizerError) else type(error).__name__
