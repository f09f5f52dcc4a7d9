"""The service called by many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recognizer.core.errors import ImageError
from recognizer.core.settings import Settings
from recognizer.photos import images
from recognizer.service import make_service

from .streams import wait_for
from .test_pool import Gate


@pytest.fixture
def service(tmp_path, models_dir, photos):
    for name, file in {"Obama": "obama.jpg", "Biden": "biden.jpg"}.items():
        (tmp_path / "known" / name).mkdir(parents=True)
        (tmp_path / "known" / name / file).write_bytes(photos[file].read_bytes())
    made = make_service(
        Settings(known_faces=tmp_path / "known", state_dir=tmp_path / "state", models_dir=models_dir, watch=False, workers=2)
    )
    made.start()
    yield made
    made.close()


def story(seen) -> list:
    return [(face.match.subject, round(face.match.distance, 4), tuple(face.face.box)) for face in seen.faces]


@pytest.mark.slow
def test_photos_described_side_by_side_get_their_own_answers(service, photos, monkeypatch):
    """Two threads are held up until twelve photos wait, one of them broken and some without a face."""
    good = {name: photos[name].read_bytes() for name in ("obama2.jpg", "biden.jpg", "astronaut.png")}
    alone = {name: story(service.recognition.recognize(data)) for name, data in good.items()}
    assert [alone[name][0][0] for name in good] == ["Obama", "Biden", None]
    blank = images.encode_jpeg(np.full((90, 120, 3), 128, np.uint8))
    work = [*good.items(), ("broken", b"\xff\xd8\xff\xe0 no photo"), ("blank", blank)] * 4
    described = []
    whole = type(service.engine).described_all
    monkeypatch.setattr(
        type(service.engine), "described_all", lambda engine, asked: described.append(asked) or whole(engine, asked)
    )

    def ask(item):
        name, data = item
        try:
            return name, service.recognition.recognize(data)
        except ImageError as error:
            return name, error

    gate = Gate(service.pool)
    with ThreadPoolExecutor(len(work)) as callers:
        answers = [callers.submit(ask, item) for item in work]
        wait_for(lambda: service.pool.inside == len(work) + service.pool.workers)
        gate.open()
        found = [each.result(60) for each in answers]
    for name, seen in found:
        if name == "broken":
            assert isinstance(seen, ImageError)
        elif name == "blank":
            assert seen.faces == ()
        else:
            assert [each[0] for each in story(seen)] == [each[0] for each in alone[name]]
            for one, other in zip(story(seen), alone[name], strict=True):
                assert one[1] == pytest.approx(other[1], abs=2e-4) and one[2] == other[2]
            stages = seen.timing_ms
            assert stages["total"] == pytest.approx(sum(stages.values()) - stages["total"], rel=0.05, abs=1)
    sizes = [sum(len(faces) > 0 for _, faces in asked) for asked in described]
    assert max(sizes) > 1 and sum(sizes) == 12


@pytest.mark.slow
def test_a_photo_of_somebody_who_is_erased_right_afterwards_was_enrolled_all_the_same(service, faces, monkeypatch):
    from types import SimpleNamespace

    from recognizer.http.photo_requests import enrol_photos

    subjects = service.subjects
    enrol = subjects.enrol

    def and_erased(*args, **named):
        made = enrol(*args, **named)
        subjects.delete(made.subject)
        return made

    monkeypatch.setattr(subjects, "enrol", and_erased)
    request = SimpleNamespace(context=SimpleNamespace(body=SimpleNamespace(file_names={})), env={})
    response, site = SimpleNamespace(status=None), SimpleNamespace(service=service)
    answer = enrol_photos(site, request, response, "  Ada ", [faces["obama"]], "only", True)
    assert (answer["subject"], answer["added"], response.status[:3]) == ("Ada", 1, "201")
