"""Live video and pictures of a camera that another node reads: asked of that node, and passed on as they come."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

import falcon

from recognizer.access import gate
from recognizer.core.errors import CameraElsewhere
from recognizer.http.wsgi import STREAM_BUFFER
from recognizer.video.sources.cameras import Elsewhere

#: Present in a request that was passed on, so that it is not passed on again.
PASSED_ON = "Recognizer-Passed-On"
#: Seconds to wait for the other node; a stream shows something every second.
_PATIENCE = 15.0
_SIZE = 64 * 1024
_LONGEST_ERROR = 64 * 1024
_HEADERS = ("Content-Type", "X-Timestamp", "Retry-After")

log = logging.getLogger("recognizer.video")


def forwarded(request: Any, response: Any, camera: str, other: Elsewhere) -> Any:
    """The reply of the node that reads a camera: its bytes, or a stream of them; status and headers are set.

    Raises
    ------
    CameraElsewhere
        The node cannot be reached, does not say where it is, or does not read the camera any longer; or no node reads it.
    """
    if other.node is None:
        raise CameraElsewhere(f"no node reads the camera {camera!r} at this moment")
    if other.url is None:
        raise CameraElsewhere(f"camera {camera!r} is read by the node {other.node}, which has no RECOGNIZER_NODE_URL")
    if request.get_header(PASSED_ON):
        raise CameraElsewhere(f"camera {camera!r} is moving to another node")
    where = urlsplit(other.url)
    target = where.path.rstrip("/") + request.relative_uri
    headers = {**gate.handed_on(request.env, where.scheme), PASSED_ON: "1", "Accept": "*/*"}
    connection = _connection(where.scheme, where.hostname or "", where.port)
    try:
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STREAM_BUFFER)  # nothing queues on the way
        connection.request("GET", target, headers=headers)
        reply = connection.getresponse()
        response.status = getattr(falcon, f"HTTP_{reply.status}", falcon.HTTP_502)
        for name in _HEADERS:
            if reply.headers[name] is not None:
                response.set_header(name, reply.headers[name])
        if reply.status == 200 and reply.length is None:
            return PassedOn(connection, reply)
        data = reply.read() if reply.status == 200 else reply.read(_LONGEST_ERROR)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        log.warning("camera %s: the node %s cannot be reached: %s", camera, other.node, type(error).__name__)
        raise CameraElsewhere(f"camera {camera!r} is read by the node {other.node}, which cannot be reached") from None
    connection.close()
    return data


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_PATIENCE, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=_PATIENCE)


class PassedOn:
    """A stream of another node, as a file-like object; it ends when that one does.

    Parameters
    ----------
    connection : http.client.HTTPConnection
    reply : http.client.HTTPResponse
    """

    def __init__(self, connection: http.client.HTTPConnection, reply: http.client.HTTPResponse):
        self._connection, self._reply = connection, reply

    def read(self, size: int = -1) -> bytes:
        """The next bytes; nothing when the stream ends."""
        try:
            return self._reply.read1(_SIZE)
        except (OSError, ValueError, AttributeError, http.client.HTTPException):  # closed here, or lost there
            return b""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.close()
        with contextlib.suppress(OSError):
            self._reply.close()
