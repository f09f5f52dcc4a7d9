"""A Frigate that is played: its API by HTTP, and what it publishes about its events."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PlayedFrigate:
    """Frigate's API, as far as it is asked: its configuration, snapshots, and sub labels of events that it knows."""

    def __init__(self, snapshots: dict[str, bytes] | None = None):
        self.snapshots = snapshots or {}
        self.labels: list[tuple[str, dict]] = []
        self.asked: list[str] = []
        self.status = 200
        self.config: object = {"cameras": {"door": {"detect": {"width": 1280, "height": 720}}}}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                if self.path == "/api/config":
                    self._answer(json.dumps(outer.config).encode())
                    return
                event = self.path.split("/")[3]
                self._answer(outer.snapshots.get(event, b"\xff\xd8\xff" + event.encode()))

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                known = "gone" not in self.path
                if known and outer.status == 200:
                    outer.labels.append((self.path, body))
                self._answer(b'{"success": true}', outer.status if known else 404)

            def _answer(self, data, status=None):
                self.send_response(status or 200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def report(id: str = "1700000000.5-abc", kind: str = "new", **after) -> dict:
    """What Frigate 0.18 publishes about a tracked person, as far as it is read."""
    shown = {"id": id, "camera": "door", "label": "person", "sub_label": None, "false_positive": False, "has_snapshot": True}
    return {"type": kind, "before": {}, "after": {**shown, "current_zones": ["porch"], **after}}
