"""Names into addresses that were checked, without waiting longer than a camera that is to stop would have it."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time

from ..errors import AddressRefused
from ..fetch import Address
from .reach import Reach
from .readers import SourceLost, Stopper
from .source import StreamUrl


def lookup(host: str, port: int, stopper: Stopper, timeout: float | None = None, **how) -> list:
    """`socket.getaddrinfo`, given up when `stopper` says so or time is up; the question itself cannot be taken back."""
    answer: list = []
    done = threading.Event()

    def ask():
        try:
            answer.append(socket.getaddrinfo(host, port, **how))
        except Exception as error:
            answer.append(error)
        done.set()

    with stopper.calling(done.set):
        threading.Thread(target=ask, name="resolve", daemon=True).start()
        done.wait(timeout)
    if not answer:
        raise OSError("no answer")
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def reachable(url: StreamUrl, stopper: Stopper, reach: Reach, timeout: float) -> Address:
    """An address of the URL's host that takes connections; all its addresses are permitted.

    Trying is a connection more; RTMP servers that serve one client only would take it for that one.

    Raises
    ------
    SourceLost
    """
    until = time.monotonic() + timeout
    addresses = [url.literal] if url.literal else _addresses(url, stopper, timeout)
    try:
        reach.check(url.host, addresses)
    except AddressRefused as error:
        raise SourceLost(error.message) from None
    if not url.scheme.startswith("rtsp"):
        return addresses[0]
    reason = "the camera does not answer"
    for number, address in enumerate(addresses):
        left = max(0.1, (until - time.monotonic()) / (len(addresses) - number))
        probe = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        with probe, stopper.calling(lambda probe=probe: probe.shutdown(socket.SHUT_RDWR)):
            probe.settimeout(0.01 if stopper.stopped else left)
            try:
                probe.connect((str(address), url.port))
                return address
            except TimeoutError:
                reason = "the camera does not answer"
            except ConnectionRefusedError:
                reason = f"nothing listens on port {url.port} of the camera"
            except OSError:
                reason = "the camera cannot be reached"
        if stopper.stopped:
            break
    raise SourceLost(reason)


def _addresses(url: StreamUrl, stopper: Stopper, timeout: float) -> list[Address]:
    try:
        answer = lookup(url.host, url.port, stopper, timeout, type=socket.SOCK_STREAM)
        found = dict.fromkeys(str(place[0]).partition("%")[0] for *_, place in answer)
        return [ipaddress.ip_address(text) for text in found]
    except (OSError, ValueError):
        raise SourceLost(f"there is no host {url.host}") from None
