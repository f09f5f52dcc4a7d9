"""Metrics: counted once, read when asked for, bounded labels, and a table that tells them all."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recognizer.core import metrics as module
from recognizer.core.metrics import METRICS, CameraSample, Metrics

OPERATIONS = Path(__file__).resolve().parents[1] / "docs" / "operations.md"


def samples(metrics: Metrics) -> dict[tuple, float]:
    """(name, sorted labels) -> value of everything that is told."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def test_a_fresh_registry_tells_only_its_own():
    first, second = Metrics(), Metrics()
    first.begin()
    first.request("GET", "/health", 200, 0.001, 14)
    key = ("recognizer_http_requests_total", ("method", "GET"), ("route", "/health"), ("status", "200"))
    assert samples(first)[key] == 1
    assert key not in samples(second)


def test_requests_are_counted_and_timed():
    metrics = Metrics()
    for status, seconds, error in ((200, 0.02, None), (200, 0.2, None), (422, 0.02, "no_face")):
        metrics.begin()
        metrics.request("POST", "/recognize", status, seconds, 100, error)
    found = samples(metrics)
    route = ("route", "/recognize")
    assert found["recognizer_http_requests_total", ("method", "POST"), route, ("status", "200")] == 2
    assert found["recognizer_http_requests_total", ("method", "POST"), route, ("status", "422")] == 1
    assert found["recognizer_http_request_duration_seconds_count", route] == 3
    assert found["recognizer_http_request_duration_seconds_bucket", ("le", "0.025"), route] == 2
    assert found["recognizer_http_request_duration_seconds_sum", route] == pytest.approx(0.24)
    assert found["recognizer_http_response_bytes_total", route] == 300
    assert found["recognizer_errors_total", ("code", "no_face")] == 1
    assert found[("recognizer_http_requests_active",)] == 0


def test_a_stream_is_counted_and_not_timed():
    metrics = Metrics()
    metrics.begin()
    metrics.request("GET", "/stream", 200, None, 5_000_000)
    found = samples(metrics)
    assert found["recognizer_http_requests_total", ("method", "GET"), ("route", "/stream"), ("status", "200")] == 1
    assert not any(key[0].startswith("recognizer_http_request_duration_seconds") for key in found)


def test_methods_that_nobody_knows_make_one_series():
    metrics = Metrics()
    for number in range(50):
        metrics.begin()
        metrics.request(f"BREW{number}", module.UNKNOWN, 405, 0.001)
    methods = {dict(key[1:])["method"] for key in samples(metrics) if key[0] == "recognizer_http_requests_total"}
    assert methods == {"OTHER"}


def test_faces_and_stages():
    metrics = Metrics()
    metrics.stages({"decode": 4.0, "detect": 8.0, "total": 12.0, "queue": 0.1})
    metrics.faces(3, matched=2)
    metrics.faces(5)
    metrics.enrolled()
    found = samples(metrics)
    stages = {dict(key[1:])["stage"] for key in found if key[0] == "recognizer_stage_duration_seconds_count"}
    assert stages == {"decode", "detect", "queue"}
    assert found["recognizer_stage_duration_seconds_sum", ("stage", "decode")] == pytest.approx(0.004)
    names = ("recognizer_faces_found_total", "recognizer_faces_matched_total", "recognizer_faces_strangers_total")
    assert [found[(name,)] for name in names] == [8, 2, 1]
    assert found[("recognizer_photos_enrolled_total",)] == 1


def test_stages_of_live_video_are_apart_from_those_of_photos():
    metrics = Metrics()
    metrics.video_stage("detect", 0.02)
    metrics.video_stage("detect", 0.04)
    found = samples(metrics)
    assert found["recognizer_video_stage_duration_seconds_count", ("stage", "detect")] == 2
    assert found["recognizer_video_stage_duration_seconds_sum", ("stage", "detect")] == pytest.approx(0.06)
    assert not any(key[0].startswith("recognizer_stage_duration_seconds") for key in found)


def test_what_is_read_is_read_when_asked():
    metrics, value = Metrics(), [1]
    metrics.watch("recognizer_queue_inside", lambda: value[0])
    metrics.watch("recognizer_queue_refused_total", lambda: 7)
    metrics.watch("recognizer_disk_free_bytes", lambda: {("state",): 5.0})
    assert samples(metrics)[("recognizer_queue_inside",)] == 1
    value[0] = 2
    found = samples(metrics)
    assert found[("recognizer_queue_inside",)] == 2
    assert found[("recognizer_queue_refused_total",)] == 7
    assert found["recognizer_disk_free_bytes", ("folder", "state")] == 5


def test_a_source_that_fails_hides_no_other(caplog):
    metrics = Metrics()
    metrics.watch("recognizer_queue_inside", lambda: 1 / 0)
    metrics.watch("recognizer_queue_workers", lambda: 2)
    found = samples(metrics)
    assert found[("recognizer_queue_workers",)] == 2 and ("recognizer_queue_inside",) not in found
    assert "recognizer_queue_inside could not be read" in caplog.text


@pytest.mark.parametrize("name", ["recognizer_nothing", "recognizer_errors_total", "recognizer_stage_duration_seconds"])
def test_only_what_is_defined_can_be_watched(name):
    with pytest.raises(KeyError, match=name):
        Metrics().watch(name, lambda: 1)


def test_cameras_are_told_one_by_one():
    metrics = Metrics()
    cameras = [CameraSample("door", "live", 25.0, 100, 20, 1, 2), CameraSample("yard", "lost", connects=3)]
    metrics.watch_cameras(lambda: cameras)
    found = samples(metrics)
    assert found["recognizer_camera_state", ("camera", "door"), ("state", "live")] == 1
    assert found["recognizer_camera_state", ("camera", "door"), ("state", "lost")] == 0
    assert found["recognizer_camera_state", ("camera", "yard"), ("state", "lost")] == 1
    assert found["recognizer_camera_frames_read_total", ("camera", "door")] == 100
    assert found["recognizer_camera_frames_dropped_total", ("camera", "door")] == 20
    assert found["recognizer_camera_viewers", ("camera", "door")] == 2
    assert found["recognizer_camera_connects_total", ("camera", "yard")] == 3
    cameras.pop()
    assert not any(("camera", "yard") in key for key in samples(metrics))


def test_threads_lose_no_count():
    metrics = Metrics()

    def work():
        for _ in range(500):
            metrics.begin()
            metrics.request("GET", "/health", 200, 0.001, 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = samples(metrics)
    key = ("recognizer_http_requests_total", ("method", "GET"), ("route", "/health"), ("status", "200"))
    assert found[key] == 4000 and found[("recognizer_http_requests_active",)] == 0


def test_definitions_follow_the_customs():
    names = [each.name for each in METRICS]
    assert len(set(names)) == len(names)
    for each in METRICS:
        assert re.fullmatch(r"recognizer_[a-z_]+", each.name) and each.help.endswith(".")
        assert each.kind in ("counter", "gauge", "histogram")
        assert each.name.endswith("_total") == (each.kind == "counter")
        assert bool(each.buckets) == (each.kind == "histogram")
        assert not set(each.labels) & {"path", "url", "name", "subject", "person", "address"}


def test_the_documentation_shows_the_table():
    found = re.search(r"<!-- metrics -->\n+(.*?)\n*<!-- /metrics -->", OPERATIONS.read_text("utf-8"), re.DOTALL)
    assert found, "docs/operations.md lacks the marks <!-- metrics --> and <!-- /metrics -->"
    assert found[1].strip() == module.markdown_table().strip(), "put recognizer.core.metrics.markdown_table() between the marks"
