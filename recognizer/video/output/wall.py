"""Pictures of several cameras in one stream, for a page that shows many: browsers open only six connections to one server.

The stream is a series of parts like that of `mjpeg`, each with the header ``X-Camera``. Each camera's view is drawn and
encoded as for viewers of that camera alone, and the same bytes go to all. A slow viewer gets the newest picture of each camera
and skips the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from recognizer.video.output.mjpeg import BOUNDARY, OPENING, View
from recognizer.video.sources.cameras import MOST_CAMERAS

CONTENT_TYPE = f"multipart/mixed; boundary={BOUNDARY}"
#: Maximum number of cameras in one stream: all.
MOST_VIEWS = MOST_CAMERAS + 1
#: Seconds after which a waiting viewer checks whether its client is still connected.
_LOOK = 0.25


class WallViewer:
    """A viewer of several views: a file-like object without end, as WSGI servers send it.

    Parameters
    ----------
    views : mapping of str to View
        By the camera's id.
    leave : callable
        Called once, when the viewer is gone.
    over : callable returning bool, optional
        Whether the viewer is gone, or the server ends; called a few times per second.
    """

    def __init__(self, views: Mapping[str, View], leave: Callable[[], None], over: Callable[[], bool] | None = None):
        self.views = dict(views)
        self._heads = {camera: f"X-Camera: {camera}\r\n".encode() for camera in views}
        self._leave, self._over = leave, over or (lambda: False)
        self._numbers = dict.fromkeys(views, 0)
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._begun = self._left = False

    def read(self, size: int = -1) -> bytes:
        """The next part of each camera that has one, whatever `size` is; nothing when the stream ends."""
        if not self._begun:
            self._begun = True
            return OPENING
        while not (self._left or self._over() or all(view.closed for view in self.views.values())):
            self._news.clear()
            parts = []
            for camera, view in self.views.items():
                found = view.ask(self._numbers[camera], self._news.set)
                if found is not None:
                    self._numbers[camera] = found.number
                    parts += [self._heads[camera], found.part]
            if parts:
                return b"".join(parts)
            self._news.wait(_LOOK)
        return b""

    def close(self) -> None:
        with self._lock:
            left, self._left = self._left, True
        if not left:
            for view in self.views.values():
                view.stop_asking(self._news.set)
            self._leave()

    def __enter__(self) -> WallViewer:
        return self

    def __exit__(self, *_) -> None:
        self.close()
