"""Resolves the names of cameras to permitted addresses; a camera that is to stop interrupts the wait."""

from __future__ import annotations

import socket
import time
from functools import partial

from recognizer.core.errors import AddressRefused, FetchError
from recognizer.core.origins import Address
from recognizer.fetching.addresses import resolve
from recognizer.video.sources.base import SourceLost, Stopper
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.source import StreamUrl


def reachable(url: StreamUrl, stopper: Stopper, reach: Reach, timeout: float) -> Address:
    """An address of the URL's host that accepts connections; all its addresses are permitted.

    Trying needs a connection of its own, which RTMP servers for a single client would count as that client.

    Raises
    ------
    SourceLost
    """
    until = time.monotonic() + timeout
    try:
        addresses = [url.literal] if url.literal else resolve(url.host, url.port, timeout, interruption=stopper.calling)
        reach.check(url.host, addresses)
    except AddressRefused as error:
        raise SourceLost(error.message) from None
    except FetchError:
        raise SourceLost(f"there is no host {url.host}") from None
    if not url.scheme.startswith("rtsp"):
        return addresses[0]
    reason = "the camera does not answer"
    for number, address in enumerate(addresses):
        left = max(0.1, (until - time.monotonic()) / (len(addresses) - number))
        probe = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        with probe, stopper.calling(partial(probe.shutdown, socket.SHUT_RDWR)):
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
