"""Traces by OpenTelemetry, read by a receiver of our own; and nothing of OpenTelemetry without the setting."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recognizer.core import tracing
from recognizer.core.errors import SettingsError
from recognizer.core.metrics import Metrics
from recognizer.core.settings import Settings
from recognizer.events.delivery import Delivery
from recognizer.events.event_erasing import Retention
from recognizer.events.event_log import EventLog
from recognizer.http.observing import Observing
from recognizer.http.wsgi import Guard
from recognizer.service import make_service

from .streams import wait_for

ROOT = Path(__file__).resolve().parents[1]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Receiver:
    """Receives OTLP over HTTP; `spans` are those that came, and `service` is what the last sender is called."""

    def __init__(self):
        messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        received = self
        self.spans: list = []
        self.service = ""

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    data = gzip.decompress(data)
                for resource in messages.ExportTraceServiceRequest.FromString(data).resource_spans:
                    named = {each.key: each.value.string_value for each in resource.resource.attributes}
                    received.service = named["service.name"]
                    received.spans += [span for scope in resource.scope_spans for span in scope.spans]
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def named(self, name: str) -> list:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    tracing.close()
    made.close()


def attributes(span) -> dict:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


@pytest.mark.network
@pytest.mark.slow
def test_a_request_its_stages_and_the_clients_trace(receiver, tmp_path, models_dir, faces):
    settings = {"known_faces": tmp_path / "known", "state_dir": tmp_path / "state", "models_dir": models_dir}
    service = make_service(Settings(**settings, detector="yunet", embedder="sface", watch=False, workers=1))
    service.start()
    tracing.configure(receiver.url, "1.0")
    tracing.configure(receiver.url, "1.0")  # a second time does nothing

    def app(environ, start_response):
        environ["recognizer.route"] = "/recognize/{x}"
        service.recognition.recognize(faces["obama"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    guard = Guard(app, observer=Observing(Metrics()))
    came = {"REQUEST_METHOD": "POST", "PATH_INFO": "/recognize/Ada", "HTTP_TRACEPARENT": f"00-{TRACE}-00f067aa0ba902b7-01"}
    for environ in (came, {"REQUEST_METHOD": "GET", "PATH_INFO": "/recognize/Ada"}):
        reply = guard(environ, lambda *_: None)
        assert b"".join(reply) == b"done"
        reply.close()
    tracing.close()
    service.close()
    assert receiver.service == "recognizer"
    (request,) = receiver.named("POST /recognize/{x}")
    assert request.trace_id.hex() == TRACE and request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": "/recognize/{x}",
        "http.response.status_code": 200,
    }
    (other,) = receiver.named("GET /recognize/{x}")
    assert other.trace_id != request.trace_id and not other.parent_span_id
    for name in ("decode", "detect", "describe", "search"):
        stages = receiver.named(name)
        assert [each.parent_span_id for each in stages] == [request.span_id, other.span_id], name
        assert all(each.start_time_unix_nano <= each.end_time_unix_nano for each in stages)
    assert "Ada" not in str(receiver.spans)


@pytest.mark.network
def test_a_stage_belongs_to_where_its_work_began(receiver):
    tracing.configure(receiver.url, "1.0")
    with tracing.span("one"):
        began = tracing.current()
    with tracing.span("two"):
        tracing.stage("stage", 0.5, began)
    tracing.close()
    assert receiver.named("stage")[0].parent_span_id == receiver.named("one")[0].span_id


@pytest.mark.network
def test_deliveries_of_events_and_what_failed(receiver, tmp_path):
    class Sink(Delivery):
        def deliver(self, event):
            if event["id"] == 1 and not self.counts["retried"]:
                self.counts["retried"] += 1
                raise RuntimeError("about Ada Lovelace")
            self.counts["delivered"] += 1

        def pause(self, seconds):
            super().pause(min(seconds, 0.01))

    tracing.configure(receiver.url, "1.0")
    log = EventLog(tmp_path / "events", Retention(16_000_000, 30))
    sink = Sink(log, "webhook-0123456789abcdef", 10)
    sink.start()
    log.append([{"id": 0, "kind": "appeared", "camera": "door", "time": "", "subject": "Ada Lovelace", "thumbnail": None}])
    wait_for(lambda: sink.counts["delivered"] == 1)
    sink.stop()
    log.close()
    tracing.close()
    failed, delivered = receiver.named("deliver event")
    assert attributes(delivered) == {"event.kind": "appeared", "event.id": 1, "receiver": "webhook"}
    assert attributes(failed)["error.type"] == "RuntimeError" and failed.status.code == 2
    assert "Ada" not in str(receiver.spans)


def test_nothing_is_loaded_or_done_without_the_setting():
    script = (
        "import sys\nfrom recognizer.core import tracing\nimport recognizer.http.site, recognizer.events.webhooks\n"
        "tracing.configure('off', '1')\ntracing.stage('x', 1.0, tracing.current())\n"
        "with tracing.span('x'): pass\n"
        "assert tracing.begin_request('GET', {}) is None\ntracing.end_request(None, 'GET', '/', 200, None)\ntracing.close()\n"
        "assert not [each for each in sys.modules if each.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=120)


def test_without_the_packages_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"pip install 'recognizer\[otel\]'"):
        tracing.configure("on", "1.0")
    assert not tracing.enabled()


@pytest.mark.parametrize(
    ("text", "value"), [("OFF", "off"), ("on", "on"), ("http://c:4318", "http://c:4318"), ("c:4318", None)]
)
def test_the_setting(text, value):
    environ = {"RECOGNIZER_TRACES": text}
    if value is None:
        with pytest.raises(SettingsError, match="RECOGNIZER_TRACES"):
            Settings.from_environment(environ)
    else:
        assert Settings.from_environment(environ).traces == value
