"""Sends one notification by Apprise, in a process of its own, which `rule_actions.notify` starts.

The process reads one JSON object, {url, title, body, picture (base64 or null), allow}, and writes another one, {problem}. A
service that hangs or fails harms nobody else there, and every connection of every service is checked by the address that it
goes to: private ones are refused unless `allow` lists them, and so are local sockets.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import logging
import re
import socket
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from recognizer.fetching.addresses import effective_address, is_public

REFUSED = "its address is not allowed; RECOGNIZER_WEBHOOK_ALLOW lists private ones that are"


class _Refused(OSError):
    """A connection to an address that is not allowed."""


class _Guard:
    """Replaces the methods of sockets that connect or send, in this process."""

    def __init__(self, allow: Sequence[str]):
        self._allow = [ipaddress.ip_network(each, strict=False) for each in allow]
        self.refused = False

    def install(self) -> None:
        for name, place in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
            setattr(socket.socket, name, self._guarded(getattr(socket.socket, name), place))

    def _guarded(self, method: Any, place: int) -> Any:
        def guarded(own: socket.socket, *args: Any) -> Any:
            self._check(own, args[place])
            return method(own, *args)

        return guarded

    def _check(self, own: socket.socket, address: Any) -> None:
        if own.family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(address, tuple):
            self.refused = True
            raise _Refused(REFUSED)
        try:
            given = ipaddress.ip_address(str(address[0]).partition("%")[0])
        except ValueError:  # a name, which the system would look up unseen
            infos = socket.getaddrinfo(address[0], address[1], own.family, own.type)
            for info in infos:
                self._check(own, info[4])
            return
        effective = effective_address(given)
        if not (is_public(effective) or any(each in network for network in self._allow for each in (given, effective))):
            self.refused = True
            raise _Refused(REFUSED)


class _Heard(logging.Handler):
    """Keeps what Apprise says of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def harmless(said: str, url: str) -> str:
    """What Apprise said, or nothing if that repeats a part of the URL, which may be secret."""
    pieces = {unquote(each).lower() for each in re.split(r"[/?&=@:#]+", url.partition("://")[2])}
    servers = {each for each in pieces if re.fullmatch(r"[\w-]+(\.[\w-]+)+", each)} | {"localhost"}
    ports = {each for each in pieces if each.isdigit() and len(each) <= 5}
    if "://" in said or any(len(each) >= 4 and each in said.lower() for each in pieces - servers - ports):
        return ""
    return said[:200]


def send(url: str, title: str, body: str, picture: bytes | None, allow: Sequence[str]) -> str | None:
    """Send a notification; returns why it was not taken, or None."""
    import apprise
    from apprise.attachment.memory import AttachMemory

    heard = _Heard()
    logging.getLogger("apprise").addHandler(heard)
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(app_id="Recognizer", app_desc="Recognizer", plugin_paths=[], async_mode=False)
    sender = apprise.Apprise(asset=asset)
    if not sender.add(url):
        return "Apprise knows no service with this URL"
    guard = _Guard(allow)
    guard.install()
    attached = None if picture is None else AttachMemory(picture, name="face.jpg", mimetype="image/jpeg")
    if sender.notify(body=body, title=title, attach=attached):
        return None
    return REFUSED if guard.refused else harmless(heard.last, url) or "the service did not take it"


def main() -> None:
    """Read what is to be sent from the standard input, send it, and write how that went."""
    asked = json.loads(sys.stdin.buffer.read())
    picture = None if asked["picture"] is None else base64.b64decode(asked["picture"])
    problem = send(asked["url"], asked["title"], asked["body"], picture, asked["allow"])
    print(json.dumps({"problem": problem}))
