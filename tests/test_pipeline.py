"""The pipeline and `watch`: scripted cameras for what must happen when, real clips and the real engine for the rest."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

import recognizer
from recognizer.engines.engine import Engine
from recognizer.errors import InvalidParameter, InvalidSource, ModelMissing
from recognizer.video import pipeline as pipeline_module
from recognizer.video.pipeline import DESCRIBED_AT_ONCE, PERMANENT, Pipeline, Wants
from recognizer.video.watching import watch
from recognizer.video.workers import Workers, sensible

from .video_actors import Actor, Camera, Vision, axis

ADA, BOB, EVE = axis(0), axis(1), axis(2)


def still(x: float, y: float = 90, size: float = 60):
    return lambda number: (x, y, size)


def run(camera, vision, *, threads: int = 1, **options) -> list:
    """All results of a pipeline."""

    async def collect() -> list:
        found: list = []
        with ThreadPoolExecutor(threads) as executor:
            pipeline = Pipeline(camera, vision, executor=executor, complete=not camera.paced, **options)
            await pipeline.run(found.append)
        return found

    return asyncio.run(collect())


def names(result) -> list[tuple[int, str | None]]:
    return [(face.track, face.subject) for face in result.faces]


# -- recordings, every picture ----------------------------------------------------------------------------------------


def test_an_empty_source():
    assert run(Camera(0), Vision()) == []


def test_nobody_is_there():
    results = run(Camera(5), Vision())
    assert [result.frame.number for result in results] == [0, 1, 2, 3, 4]
    assert all(result.faces == result.objects == result.ended == () and not result.dropped for result in results)


def test_every_picture_is_looked_at_and_everybody_named_at_once():
    vision = Vision([Actor(ADA, still(80)), Actor(EVE, still(240))], {"ada": ADA, "bob": BOB})
    results = run(Camera(30), vision)
    assert vision.calls["detect"] == 30
    assert all(names(result) == [(1, "ada"), (2, None)] for result in results)
    assert all(face.detected and face.decided for result in results for face in result.faces)
    first = results[0].faces[0]
    assert first.seen.distance == 0 and first.seen.match.false_match_rate < 1e-6
    assert [each.subject for each in first.seen.candidates] == ["ada", "bob"]
    assert first.since == results[0].frame.time == results[-1].faces[0].since
    assert first.seen.quality.size == 60
    assert set(results[0].timing_ms) >= {"detect", "describe", "total"}


def test_who_is_known_is_described_seldom():
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA})
    run(Camera(25 * 9), vision)  # nine seconds
    assert 2 <= vision.calls["described"] <= 5


def test_a_better_picture_is_described_soon():
    walking = Actor(ADA, lambda number: (160, 90, 20 + number))
    vision = Vision([walking], {"ada": ADA})
    results = run(Camera(60), vision)
    assert 3 <= vision.calls["described"] <= 9
    assert {name for result in results[10:] for name in names(result)} == {(1, "ada")}


def test_in_between_faces_are_carried_on():
    vision = Vision([Actor(ADA, lambda number: (40 + 4 * number, 90, 60))], {"ada": ADA})
    results = run(Camera(40), vision, detect_every=4)
    assert vision.calls["detect"] == 10
    assert [result.faces[0].detected for result in results[3:11]] == [True, False, False, False] * 2
    for result in results[20:]:
        assert result.faces[0].box.centre[0] == pytest.approx(40 + 4 * result.frame.number, abs=6)


def test_a_crowd_does_not_stall():
    crowd = [Actor(axis(i), still(20 + 30 * (i % 10), 20 + 50 * (i // 10), 24)) for i in range(30)]
    vision = Vision(crowd, {f"p{i}": axis(i) for i in range(30)})
    described = []
    vision.slow = lambda step: described.append(vision.calls["described"]) if step == "detect" else None
    results = run(Camera(40), vision)
    assert max(np.diff(described)) <= DESCRIBED_AT_ONCE
    assert len({name for _, name in names(results[-1])}) == 30 and None not in dict(names(results[-1])).values()


def test_after_a_cut_nobody_inherits_a_name():
    """Another person in the same place: the track ends with the picture, and so does the name."""
    vision = Vision(
        [Actor(ADA, lambda n: (80, 90, 60) if n < 10 else None), Actor(EVE, lambda n: (82, 90, 60) if n >= 10 else None)],
        {"ada": ADA},
    )  # fmt: skip
    results = run(Camera(20, level=lambda n: 60 if n < 10 else 200), vision)
    assert [names(result) for result in results] == [[(1, "ada")]] * 10 + [[(2, None)]] * 10


def test_after_a_cut_the_same_person_is_the_same_track():
    vision = Vision([Actor(ADA, lambda n: (80, 90, 60) if n < 10 else (240, 60, 90))], {"ada": ADA})
    results = run(Camera(20, level=lambda n: 60 if n < 10 else 200), vision)
    assert [names(result) for result in results] == [[(1, "ada")]] * 20
    assert not any(result.ended for result in results)  # the number that the face had for no picture is not told


def test_whoever_comes_back_is_the_same_track():
    """Out of the picture for two seconds, back elsewhere."""
    vision = Vision([Actor(ADA, lambda n: (80, 90, 60) if n < 20 else (250, 100, 50) if n >= 70 else None)])
    results = run(Camera(90), vision)
    assert {face.track for result in results for face in result.faces} == {1}
    assert not results[50].faces and not any(result.ended for result in results)


def test_whoever_stays_away_is_ended_once():
    vision = Vision([Actor(ADA, lambda n: (80, 90, 60) if n < 20 or n >= 200 else None)])
    results = run(Camera(210), vision)
    assert [result.ended for result in results if result.ended] == [(1,)]
    assert {face.track for face in results[-1].faces} == {2}


def test_two_who_change_places_unseen_change_names_with_them():
    """Hidden by one another: places alone would give each the other's name."""
    swapped = 30

    def place(first, second):
        return lambda n: (first, 90, 60) if n < swapped - 5 else (second, 90, 60) if n >= swapped else None

    vision = Vision([Actor(ADA, place(80, 240)), Actor(BOB, place(240, 80))], {"ada": ADA, "bob": BOB})
    results = run(Camera(60), vision)
    assert names(results[0]) == [(1, "ada"), (2, "bob")]
    at = {face.subject: face.box.centre[0] for face in results[-1].faces}
    assert at == {"ada": pytest.approx(240), "bob": pytest.approx(80)}


def test_one_person_is_never_two_tracks():
    vision = Vision([Actor(ADA, still(80)), Actor(ADA * 0.9, still(240))], {"ada": ADA})
    vision.same_within = 0.05
    for result in run(Camera(30), vision):
        assert [name for _, name in names(result)] == ["ada", None]


def test_a_changed_gallery_is_asked_anew():
    vision = Vision([Actor(ADA, still(80))])

    def change(step: str) -> None:
        if step == "detect" and vision.calls["detect"] in (10, 20):
            vision.enrolled = {"ada": ADA} if vision.calls["detect"] == 10 else {}
            vision.generation += 1

    vision.slow = change
    results = run(Camera(30), vision)
    assert [name for result in results for _, name in names(result)] == [None] * 9 + ["ada"] * 10 + [None] * 11


@pytest.mark.parametrize("wants", [Wants(), Wants(landmarks_68=True), Wants(objects=True)], ids=str)
def test_only_what_is_wanted_is_done(wants):
    vision = Vision([Actor(ADA, still(80))])
    results = run(Camera(5), vision, wants=lambda: wants)
    assert (vision.calls["landmarks"] > 0, vision.calls["objects"] > 0) == (wants.landmarks_68, wants.objects)
    for result in results:
        assert (result.faces[0].seen.landmarks_68 is not None) is wants.landmarks_68
        assert bool(result.objects) is wants.objects


def test_landmarks_move_with_a_carried_face():
    vision = Vision([Actor(ADA, lambda n: (40 + 4 * n, 90, 60))])
    results = run(Camera(30), vision, detect_every=3, wants=lambda: Wants(landmarks_68=True))
    for result in results[15:]:
        face = result.faces[0]
        assert face.seen.landmarks_68[0] == pytest.approx(face.box.centre, abs=1)


# -- live -------------------------------------------------------------------------------------------------------------


def asleep(seconds: float):
    def sleep(step: str) -> None:
        time.sleep(seconds)

    return sleep


def busy(seconds: float):
    """Holds the interpreter as Python code does: it is let go of every few milliseconds only because others want it."""

    def work(step: str) -> None:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass

    return work


def test_a_slow_engine_does_not_hold_up_pictures():
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA}, slow=asleep(0.15))
    results = run(Camera(120, rate=40), vision)
    assert vision.calls["detect"] < 30
    assert len(results) > 2 * vision.calls["detect"]
    assert sum(result.dropped for result in results) + len(results) == 120
    assert names(results[-1]) == [(1, "ada")]
    numbers = [result.frame.number for result in results]
    assert numbers == sorted(set(numbers))
    # events and sightings count what was looked at: it is told with a later picture's result, once
    found = [face for result in results for face in result.faces if face.found]
    assert vision.calls["detect"] // 2 < len(found) <= vision.calls["detect"]
    assert sum(face.late for face in found) > len(found) // 2 and not any(face.late and face.detected for face in found)


def test_a_quick_engine_sees_nearly_every_picture():
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA}, slow=asleep(0.002))
    results = run(Camera(20, rate=5), vision)  # so seldom that it has the time on a machine with other work, too
    seen = [face.detected for result in results for face in result.faces]
    assert sum(seen) > 0.7 * len(seen)


@pytest.fixture
def no_collections():
    """A full collection of everything that Python holds takes longer than 5 ms by itself, on whichever thread it happens."""
    gc.disable()
    yield
    gc.enable()


async def lags(until: asyncio.Event) -> tuple[list[float], list[float]]:
    """How late the loop was each millisecond, and the processor time that it took in between; in milliseconds."""
    late, used = [], []
    while not until.is_set():
        before, cpu = time.perf_counter(), time.thread_time()
        await asyncio.sleep(0.001)
        late.append(1000 * (time.perf_counter() - before - 0.001))
        used.append(1000 * (time.thread_time() - cpu))
    return late, used


def lag_of(vision, cameras, **options) -> tuple[list[float], list[float]]:
    async def measure():
        done = asyncio.Event()
        measuring = asyncio.create_task(lags(done))
        with ThreadPoolExecutor(2) as executor:
            pipelines = [Pipeline(camera, vision, executor=executor, **options) for camera in cameras]
            await asyncio.gather(*(pipeline.run(lambda result: None) for pipeline in pipelines))
        done.set()
        return await measuring

    return asyncio.run(measure())


def in_short_steps(measure: Callable[[], tuple[list[float], list[float]]], tries: int = 3) -> list[float]:
    """How late the loop was while each of its thread's steps, but for two, took under 5 ms, in one of three tries.

    A virtual machine counts as a thread's time also what its host takes away, and whatever is done for the first time takes
    longer; work that was put on the loop takes its time in every try.
    """
    said = []
    for _ in range(tries):
        late, used = measure()
        long = [round(each, 1) for each in used if each >= 5]
        if len(long) <= 2 < len(used) / 10:
            return late
        said.append(f"{long} ms of the loop's thread at once, of {len(used)} steps")
    raise AssertionError("; ".join(said))


def test_pictures_that_come_seldom_wait_for_everything_that_is_found_in_them():
    """Photos that are shown for two seconds each, or a camera that gives one a second: nobody sees what comes too late."""
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA}, slow=lambda step: time.sleep(0.02))
    wants = Wants(landmarks_68=True, objects=True)
    results = run(Camera(4, rate=1, level=lambda number: 40 * number), vision, threads=2, wants=lambda: wants)
    assert [[name for _, name in names(result)] for result in results] == [["ada"]] * len(results)
    assert all(result.faces[0].seen.landmarks_68 is not None and result.objects for result in results[1:])


@pytest.mark.parametrize("slow", [asleep(0.08), busy(0.03)], ids=["sleeping", "holding"])
@pytest.mark.parametrize("complete", [False, True])
def test_the_loop_is_never_blocked(slow, complete, no_collections):
    """The engine takes no time of the loop's thread, and the loop's own work is short."""
    vision = Vision([Actor(axis(i), still(40 + 60 * i, size=40)) for i in range(4)], {"ada": ADA}, slow=slow)
    late = in_short_steps(lambda: lag_of(vision, [Camera(40, rate=25), Camera(40, rate=25)], complete=complete))
    assert vision.threads and threading.get_ident() not in vision.threads
    if vision.slow.__name__ == "sleep":
        # processors are shared here, so that now and then the loop waits for one; but not most of the time
        assert sorted(late)[len(late) // 2] < 5


def test_cameras_that_share_a_thread_take_turns():
    vision = {name: Vision([Actor(ADA, still(80))], slow=asleep(0.02)) for name in "abcd"}
    vision["a"].actors = [Actor(axis(i), still(20 + 30 * (i % 10), 20 + 50 * (i // 10), 24)) for i in range(30)]

    async def together():
        with ThreadPoolExecutor(1) as executor:
            runs = (Pipeline(Camera(90, rate=30), each, executor=executor).run(lambda r: None) for each in vision.values())
            await asyncio.gather(*runs)

    asyncio.run(together())
    looked = [each.calls["detect"] for each in vision.values()]
    assert min(looked) > max(looked) / 3, looked


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_an_error_on_one_picture_is_said_once_and_goes_by(caplog):
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA})
    vision.broken = lambda step, call: RuntimeError("a bad picture") if step == "detect" and call % 4 == 0 else None
    with caplog.at_level(logging.WARNING):
        results = run(Camera(40), vision)
    assert len(results) == 40 and names(results[-1]) == [(1, "ada")]
    assert sum("could not be worked on" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("step", ["detect", "describe"])
@pytest.mark.parametrize("rate", [None, 100])
def test_an_engine_that_is_broken_for_good_raises(step, rate):
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA})
    vision.broken = lambda name, call: RuntimeError("broken") if name == step else None
    with pytest.raises(RuntimeError, match="broken"):
        run(Camera(500, rate), vision)
    assert vision.calls[step] >= PERMANENT


@pytest.mark.parametrize("rate", [None, 100])
def test_missing_weights_raise_at_once(rate):
    vision = Vision()
    vision.broken = lambda name, call: ModelMissing("no weights")
    with pytest.raises(ModelMissing):
        run(Camera(50, rate), vision)
    assert vision.calls["detect"] == 1


def test_without_objects_the_faces_go_on(caplog, monkeypatch):
    monkeypatch.setattr(pipeline_module, "RESTS", 1000.0)
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA})
    vision.broken = lambda name, call: ModelMissing("no objects") if name == "objects" else None
    results = run(Camera(40), vision, wants=lambda: Wants(objects=True))
    assert len(results) == 40 and names(results[-1]) == [(1, "ada")]
    assert vision.calls["objects"] == 1
    with pytest.raises(ModelMissing):
        run(Camera(40), vision, wants=lambda: Wants(objects=True), strict=True)


def test_who_stops_iterating_leaves_nothing_behind():
    vision = Vision([Actor(ADA, still(80))], slow=asleep(0.05))
    before = set(threading.enumerate())

    async def few():
        async with aclosing(watch("test:320x180@30", vision)) as results:
            async for result in results:
                if result.frame.number >= 3:
                    break
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        assert not pending
        deadline = time.monotonic() + 5
        while (left := {t for t in threading.enumerate() if t not in before and "asyncio" not in t.name}) and (
            time.monotonic() < deadline
        ):
            await asyncio.sleep(0.02)
        assert not left

    asyncio.run(few())


def test_cancelling_leaves_nothing_behind():
    vision = Vision([Actor(ADA, still(80))], slow=asleep(0.05))

    async def cancelled():
        async def endless():
            async for _ in watch("test:320x180@30", vision):
                pass

        task = asyncio.create_task(endless())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_asyncgens()
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    asyncio.run(cancelled())


def test_what_cannot_be_watched(tmp_path):
    with pytest.raises(InvalidSource):
        watch("gopher://example", Vision())
    with pytest.raises(InvalidParameter):
        watch(0, Vision(), landmarks=7)
    with pytest.raises(InvalidParameter):
        watch(0, Vision(), detect_every=0)

    async def first():
        async with aclosing(watch(tmp_path / "missing.mp4", Vision())) as results:
            return await anext(results)

    with pytest.raises(InvalidSource, match="missing.mp4"):
        asyncio.run(first())


def test_video_steps_back_behind_requests():
    with Workers(sensible(2)) as workers:
        assert workers.threads == 1
        if os.path.exists("/proc/self/task"):
            nice = workers.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
            assert nice > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert [sensible(n) for n in (1, 2, 3, 4, 16)] == [1, 1, 1, 2, 8]


# -- the real engine --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory, photos) -> Path:
    """Two people side by side, moving a little; halfway the one on the right becomes a stranger. 3 s at 10 fps."""
    import cv2
    from PIL import Image

    def face(name: str) -> np.ndarray:
        with Image.open(photos[name]) as image:
            image = image.convert("RGB")
            image.thumbnail((420, 420))
            return np.asarray(image)

    left, right, stranger = face("obama2.jpg"), face("biden.jpg"), face("astronaut.png")
    path = tmp_path_factory.mktemp("clips") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (1000, 480))
    for i in range(30):
        frame = np.full((480, 1000, 3), 90, np.uint8)
        for pixels, x in ((left, 20 + i), (right if i < 15 else stranger, 540 - i)):
            frame[30 : 30 + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        writer.write(frame[..., ::-1])
    writer.release()
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory, models_dir, photos):
    folder = tmp_path_factory.mktemp("people")
    with recognizer.open(folder / "known", state_dir=folder / "state", models_dir=models_dir) as opened:
        opened.enroll("Barack Obama", photos["obama.jpg"])
        opened.enroll("Joe Biden", photos["biden.jpg"])
        yield opened


def test_a_real_clip(people, clip):
    async def collect():
        return [result async for result in people.watch(clip, paced=False, landmarks=68)]

    results = asyncio.run(collect())
    assert [result.frame.number for result in results] == list(range(30))
    seen = [{face.subject for face in result.faces if face.decided} for result in results]
    assert seen[2] == {"Barack Obama", "Joe Biden"}
    assert seen[-1] == {"Barack Obama", None}
    of_obama = {face.track for result in results for face in result.faces if face.subject == "Barack Obama"}
    assert len(of_obama) == 1
    for result in results:
        for face in result.faces:
            assert face.seen.landmarks_68.shape == (68, 2)
            if face.subject:
                assert face.seen.distance <= face.seen.match.threshold and face.seen.match.false_match_rate < 0.01


def test_several_sources_under_one_loop(people, clip):
    async def one(paced: bool) -> Counter:
        found: Counter = Counter()
        async for result in people.watch(clip, paced=paced):
            found.update(face.subject for face in result.faces)
        return found

    async def all_of_them():
        return await asyncio.gather(one(True), one(True), one(False))

    *paced, whole = asyncio.run(all_of_them())
    assert whole["Barack Obama"] > 5
    assert all(found["Barack Obama"] for found in paced)  # of these, a busy machine leaves out frames


def test_somebody_enrolled_while_watching_is_named_from_then_on(people, clip, photos):
    async def enrolling():
        found = []
        async for result in people.watch(clip, paced=False):
            found.append({face.subject for face in result.faces if face.decided})
            if result.frame.number == 20:
                await asyncio.to_thread(people.enroll, "Eileen Collins", photos["astronaut.png"])
        return found

    try:
        found = asyncio.run(enrolling())
    finally:
        people.delete("Eileen Collins")
    assert found[20] == {"Barack Obama", None} and found[-1] == {"Barack Obama", "Eileen Collins"}


def test_the_loop_is_not_blocked_by_the_real_engine(people, clip, no_collections, monkeypatch):
    threads = set()

    def noted(method):
        def call(*args, **kwargs):
            threads.add(threading.get_ident())
            return method(*args, **kwargs)

        return call

    for name in ("find", "describe", "describe_all"):
        monkeypatch.setattr(Engine, name, noted(getattr(Engine, name)))

    async def measured():
        done = asyncio.Event()
        measuring = asyncio.create_task(lags(done))
        async for _ in people.watch(clip):
            pass
        done.set()
        return await measuring

    late = in_short_steps(lambda: asyncio.run(measured()))
    assert threads and threading.get_ident() not in threads
    assert sorted(late)[len(late) // 2] < 5
