"""The pipeline and `watch`: scripted cameras for what must happen when, real clips and the real engine for the rest."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

import recognizer
from recognizer.core.errors import InvalidParameter, InvalidSource, ModelMissing
from recognizer.engines.engine import Engine
from recognizer.events.appearances import Appearances
from recognizer.video.camera_settings import PLAIN, parse_settings
from recognizer.video.output.watching import watch
from recognizer.video.tracking import pipeline as pipeline_module
from recognizer.video.tracking.pipeline import DESCRIBED_AT_ONCE, PERMANENT, Pipeline, Thoroughness, Wants
from recognizer.video.tracking.workers import Workers, sensible

from . import simulated
from .streams import wait_for
from .video_actors import Actor, Camera, Vision, axis

ADA, BOB, EVE = axis(0), axis(1), axis(2)


def still(x: float, y: float = 90, size: float = 60):
    return lambda number: (x, y, size)


def run(camera, vision, *, threads: int = 1, **options) -> list:
    """All results of a pipeline; those of a camera with a rate in simulated time, where `takes` says how slow the engine is."""

    async def collect() -> list:
        found: list = []
        if camera.paced:
            clock = asyncio.get_running_loop().time
            pipeline = Pipeline(camera, vision, executor=simulated.Threads(threads), clock=clock, **options)
            await pipeline.run(found.append)
            return found
        options.setdefault("thoroughness", Thoroughness(complete=True))
        with ThreadPoolExecutor(threads) as executor:
            await Pipeline(camera, vision, executor=executor, **options).run(found.append)
        return found

    return simulated.run(collect()) if camera.paced else asyncio.run(collect())


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


def test_what_a_mask_covers_is_black_and_nobody_is_there():
    """The camera's numbers are in the pixel at the top left, which no mask here covers."""
    vision = Vision([Actor(ADA, still(80)), Actor(EVE, still(240))], {"ada": ADA})
    right = parse_settings({"masks": [{"points": [[0.6, 0.1], [1, 0.1], [1, 1], [0.6, 1]]}]})
    now = [right]
    results = run(Camera(10), vision, settings=lambda: now[0])
    assert all(names(result) == [(1, "ada")] for result in results)
    frame = results[0].frame
    assert not frame.pixels[30:, 200:].any() and frame.pixels[30:, :180].any()
    now[0] = PLAIN
    results = run(Camera(10), vision, settings=lambda: now[0])
    assert [len(result.faces) for result in results] == [2] * 10 and results[0].frame.pixels[30:, 200:].any()


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
    results = run(Camera(40), vision, thoroughness=Thoroughness(4, complete=True))
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
    )
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
    results = run(Camera(30), vision)
    assert len(results) == 30
    for result in results:
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
    results = run(Camera(30), vision, thoroughness=Thoroughness(3, complete=True), wants=lambda: Wants(landmarks_68=True))
    assert len(results) == 30
    for result in results[15:]:
        face = result.faces[0]
        assert face.seen.landmarks_68[0] == pytest.approx(face.box.centre, abs=1)


# -- live -------------------------------------------------------------------------------------------------------------


def takes(seconds: float):
    """Every step of the engine takes so long."""
    return lambda step: simulated.spend(seconds)


def test_a_slow_engine_does_not_hold_up_pictures():
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA}, slow=takes(0.15))
    results = run(Camera(120, rate=40), vision)
    assert vision.calls["detect"] < 30
    assert len(results) > 4 * vision.calls["detect"]
    assert sum(result.dropped for result in results) + len(results) == 120
    assert names(results[-1]) == [(1, "ada")]
    numbers = [result.frame.number for result in results]
    assert numbers == sorted(set(numbers))
    # events and sightings count what was looked at: it is told with a later picture's result, once
    found = [face for result in results for face in result.faces if face.found]
    assert vision.calls["detect"] // 2 < len(found) <= vision.calls["detect"]
    assert sum(face.late for face in found) > len(found) // 2 and not any(face.late and face.detected for face in found)


@pytest.mark.parametrize("seconds", [0.6, 1.5, 4.0])
@pytest.mark.parametrize("rate", [0.5, 12])
def test_a_person_is_reported_however_slow_the_engine_is(seconds, rate):
    """As on a machine that other work keeps busy: a face is shown with a picture of seconds after the one it was found in."""
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA}, slow=takes(seconds))
    results = run(Camera(int(60 * rate), rate=rate), vision)
    first = next(i for i, result in enumerate(results) if result.faces)
    assert all(len(result.faces) == 1 for result in results[first:]), "it is not shown all the time"
    assert {face.track for result in results for face in result.faces} == {1}
    assert names(results[-1]) == [(1, "ada")]
    assert story(results) == ["appeared ada"]
    for result in results:
        for face in result.faces:
            assert (face.detected_in is not None) == face.late
            if face.detected_in is not None:
                assert face.detected_in.frame.number < result.frame.number


def test_a_picture_that_stands_still_is_examined_once_a_second():
    vision = Vision([Actor(ADA, still(80)), Actor(EVE, still(240))], {"ada": ADA})
    results = run(Camera(300, rate=30, moving=lambda number: False), vision, wants=lambda: Wants(objects=True))
    assert len(results) == 300 and vision.calls["detect"] <= 11 and vision.calls["objects"] <= 11
    assert vision.calls["described"] <= 8
    assert all(names(result) == [(1, "ada"), (2, None)] for result in results[15:])
    assert all(face.found for result in results for face in result.faces) and all(result.objects for result in results[5:])
    assert sum(result.still for result in results) >= 285


def test_whoever_enters_a_picture_that_stood_still_is_found_in_the_first_one():
    vision = Vision([Actor(ADA, lambda number: (80, 90, 60) if number >= 153 else None)], {"ada": ADA})
    results = run(Camera(300, rate=30, moving=lambda number: number >= 153), vision)
    assert vision.calls["detect"] < 100
    assert next(result.frame.number for result in results if result.faces) == 153
    assert names(results[-1]) == [(1, "ada")]


def test_what_a_small_copy_does_not_show_is_found_within_a_second():
    vision = Vision([Actor(ADA, lambda number: (80, 90, 60) if 100 <= number < 200 else None)], {"ada": ADA})
    results = run(Camera(300, rate=30, moving=lambda number: False), vision)
    shown = [result.frame.number for result in results if result.faces]
    assert 100 <= shown[0] <= 131 and 199 <= shown[-1] <= 231


def test_who_stands_still_gets_the_name_that_is_enrolled_meanwhile():
    vision = Vision([Actor(ADA, still(80))])

    def change(step: str) -> None:
        if step == "detect" and vision.calls["detect"] == 4:
            vision.enrolled, vision.generation = {"ada": ADA}, 1

    vision.slow = change
    results = run(Camera(300, rate=30, moving=lambda number: False), vision)
    assert names(results[60]) == [(1, None)] and names(results[-1]) == [(1, "ada")]


def test_while_faces_are_in_sight_a_quick_camera_is_examined_fifteen_times_a_second():
    vision = Vision([Actor(ADA, lambda number: (40 + 2 * number, 90, 60))], {"ada": ADA})
    results = run(Camera(120, rate=60), vision)
    assert 25 <= vision.calls["detect"] <= 45
    for result in results[20:]:
        assert result.faces[0].box.centre[0] == pytest.approx(40 + 2 * result.frame.number, abs=8)


def test_a_known_face_that_moves_slowly_is_examined_ten_times_a_second_and_whoever_else_comes_is_found():
    """Bob comes in the middle: he is found at once, and from then on both are examined more often until he is known."""
    ada, bob = Actor(ADA, lambda number: (80, 90, 60)), Actor(BOB, lambda number: (240, 90, 60) if number >= 300 else None)
    vision = Vision([ada, bob], {"ada": ADA, "bob": BOB})
    results = run(Camera(600, rate=60), vision)
    assert 100 <= vision.calls["detect"] <= 120
    assert names(results[-1]) == [(1, "ada"), (2, "bob")]
    found = next(result.frame.number for result in results if len(result.faces) == 2)
    assert found <= 300 + 7
    assert story(results) == ["appeared ada", "appeared bob"]


def test_while_a_face_is_followed_and_nobody_watches_only_what_is_examined_is_taken():
    """Somebody comes after two seconds, and goes after five."""

    def coming():
        return Vision([Actor(ADA, lambda n: (40 + n, 90, 60) if 60 <= n < 150 else None)], {"ada": ADA})

    watched, unwatched = coming(), coming()
    every = run(Camera(600, rate=30), watched)
    some = run(Camera(600, rate=30), unwatched, wants=lambda: Wants(every_picture=False))
    assert [result.frame.number for result in every] == list(range(600))
    numbers = [result.frame.number for result in some]
    assert numbers[:60] == list(range(60)) and numbers[-100:] == list(range(500, 600)), "without a face, every picture is taken"
    between = [number for number in numbers if 70 <= number < 150]
    assert set(np.diff(between)) <= {2, 3} and set(np.diff(between[-15:])) == {3}
    assert not any(result.dropped for result in some)
    assert abs(unwatched.calls["detect"] - watched.calls["detect"]) <= 10
    for results in (every, some):
        assert story(results) == ["appeared ada", "left ada"]
        assert next(result.frame.number for result in results if result.faces) == 60
    for result in some[40:]:
        for face in result.faces if result.frame.number in between else ():
            assert face.box.centre[0] == pytest.approx(40 + result.frame.number, abs=4)


def test_where_somebody_watches_from_then_on_every_picture_is_taken():
    vision, taken = Vision([Actor(ADA, lambda n: (40 + n, 90, 60))], {"ada": ADA}), []

    def wants() -> Wants:
        taken.append(0)
        return Wants(every_picture=len(taken) > 100)

    numbers = [result.frame.number for result in run(Camera(240, rate=30), vision, wants=wants)]
    assert 3 in np.diff(numbers[:40]) and set(np.diff(numbers[-40:])) == {1}


def test_a_person_who_went_is_not_shown_once_a_pass_has_missed_them():
    vision = Vision([Actor(ADA, lambda n: (80, 90, 60) if n < 240 else None)], {"ada": ADA}, slow=takes(1.0))
    results = run(Camera(600, rate=12), vision)
    shown = [result.frame.number for result in results if result.faces]
    assert 240 < shown[-1] <= 240 + 5 * 12  # the rest of one pass, waiting for descriptions, and a whole one
    assert story(results) == ["appeared ada", "left ada"]


def test_pictures_of_a_face_are_taken_from_the_frame_it_was_found_in():
    """She is found while she passes, and gone from the picture that is shown by then."""
    vision = Vision([Actor(ADA, lambda n: (80, 90, 60) if n % 24 < 6 else None)], {"ada": ADA}, slow=takes(0.7))
    results = run(Camera(400, rate=12), vision)
    found = [face.detected_in for result in results for face in result.faces if face.late]
    assert found and all(each.frame.number % 24 < 6 and each.box.centre == pytest.approx((80, 90)) for each in found)


def story(results) -> list[str]:
    """The events about people that come of results."""
    made, appearances = [], Appearances()
    for result in results:
        made += appearances.observe("door", result, result.frame.taken)
    return [f"{event.kind} {event.subject}" for event in made]


def test_a_quick_engine_sees_every_picture():
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA}, slow=takes(0.002))
    results = run(Camera(40, rate=15), vision)
    assert len(results) == 40 and all(face.detected for result in results for face in result.faces)


def test_pictures_that_come_seldom_wait_for_everything_that_is_found_in_them():
    """Photos that are shown for two seconds each, or a camera that gives one a second: nobody sees what comes too late."""
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA}, slow=takes(0.02))
    wants = Wants(landmarks_68=True, objects=True)
    results = run(Camera(8, rate=1, level=lambda number: 40 * (number % 4)), vision, threads=2, wants=lambda: wants)
    assert [[name for _, name in names(result)] for result in results] == [["ada"]] * 8
    assert all(result.faces[0].seen.landmarks_68 is not None and result.objects for result in results)


def test_what_takes_longer_than_pictures_that_come_seldom_can_wait_holds_none_up():
    vision = Vision([Actor(ADA, still(80))], {"ada": ADA}, slow=takes(1.2))
    results = run(Camera(8, rate=1), vision, wants=lambda: Wants(objects=True))
    assert [result.frame.number for result in results] == list(range(8)) and 1 < vision.calls["detect"] < 8


class Rounds:
    """Counts the rounds of an event loop for work that must not hold it up."""

    def __init__(self) -> None:
        self._count, self._changed, self._over = 0, threading.Condition(), False
        self.threads: set[int] = set()
        self.held_up = False

    def wait(self) -> None:
        """Until the loop went round twenty times more: on the loop's own thread it never does."""
        self.threads.add(threading.get_ident())
        with self._changed:
            until = self._count + 20
            if not self.held_up:
                self.held_up = not self._changed.wait_for(lambda: self._over or self._count >= until, timeout=30)

    async def during(self, work) -> None:
        """Count while `work` is done."""

        async def count() -> None:
            while True:
                with self._changed:
                    self._count += 1
                    self._changed.notify_all()
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        try:
            await work
        finally:
            counting.cancel()
            with self._changed:
                self._over = True
                self._changed.notify_all()


@pytest.mark.parametrize("complete", [False, True])
def test_the_loop_is_never_blocked(complete):
    rounds = Rounds()

    class Slow(Vision):
        def qualities(self, image, faces):
            self._step("qualities")
            return super().qualities(image, faces)

    steps = {"detect", "describe", "match", "qualities", "landmarks", "objects"}

    async def follow(pipeline: Pipeline) -> None:
        """Until every step was taken, however many pictures a busy machine skips meanwhile."""
        async with aclosing(pipeline.results()) as results:
            async for _ in results:
                if steps <= set(vision.calls):
                    break

    async def together() -> None:
        with ThreadPoolExecutor(2) as executor:
            pipelines = [
                Pipeline(
                    camera,
                    vision,
                    executor=executor,
                    thoroughness=Thoroughness(complete=complete),
                    wants=lambda: Wants(True, True),
                )
                for camera in (Camera(10_000, rate=100), Camera(10_000, rate=100))
            ]
            await asyncio.gather(*map(follow, pipelines))

    actors = [Actor(axis(i), still(40 + 60 * i, size=40)) for i in range(4)]
    vision = Slow(actors, {"ada": ADA}, slow=lambda step: rounds.wait())
    asyncio.run(rounds.during(together()))
    assert not rounds.held_up
    assert rounds.threads and threading.get_ident() not in rounds.threads
    assert steps <= set(vision.calls)


def test_cameras_that_share_a_thread_take_turns():
    vision = {name: Vision([Actor(ADA, still(80))], slow=takes(0.02)) for name in "abcd"}
    vision["a"].actors = [Actor(axis(i), still(20 + 30 * (i % 10), 20 + 50 * (i // 10), 24)) for i in range(30)]

    async def together():
        executor, clock = simulated.Threads(1), asyncio.get_running_loop().time
        pipelines = [Pipeline(Camera(90, rate=30), each, executor=executor, clock=clock) for each in vision.values()]
        await asyncio.gather(*(pipeline.run(lambda result: None) for pipeline in pipelines))

    simulated.run(together())
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
        run(Camera(40), vision, wants=lambda: Wants(objects=True), thoroughness=Thoroughness(complete=True, strict=True))


def test_who_stops_iterating_leaves_nothing_behind():
    vision = Vision([Actor(ADA, still(80))])
    before = set(threading.enumerate())

    async def few():
        async with aclosing(watch("test:320x180@30", vision)) as results:
            async for result in results:
                if result.frame.number >= 3:
                    break
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        assert not pending

    asyncio.run(few())
    assert wait_for(lambda: set(threading.enumerate()) <= before)


def test_cancelling_leaves_nothing_behind():
    at_work = threading.Event()
    vision = Vision([Actor(ADA, still(80))], slow=lambda step: at_work.set())
    before = set(threading.enumerate())

    async def cancelled():
        async def endless():
            async for _ in watch("test:320x180@30", vision):
                pass

        task = asyncio.create_task(endless())
        assert await asyncio.to_thread(at_work.wait, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_asyncgens()
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    asyncio.run(cancelled())
    assert wait_for(lambda: set(threading.enumerate()) <= before)


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
    return film(tmp_path_factory.mktemp("clips") / "clip.avi", photos, range(30))


@pytest.fixture(scope="module")
def still_clip(tmp_path_factory, photos) -> Path:
    """The same two people, who do not move."""
    return film(tmp_path_factory.mktemp("clips") / "still.avi", photos, [0] * 30)


def film(path: Path, photos, moments: Iterable[int]) -> Path:
    import cv2
    from PIL import Image

    def face(name: str) -> np.ndarray:
        with Image.open(photos[name]) as image:
            image = image.convert("RGB")
            image.thumbnail((420, 420))
            return np.asarray(image)

    left, right, stranger = face("obama2.jpg"), face("biden.jpg"), face("astronaut.png")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (1000, 480))
    for i in moments:
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_several_sources_under_one_loop(people, clip, still_clip):
    async def one(clip, **how) -> Counter:
        found: Counter = Counter()
        async with aclosing(people.watch(clip, **how)) as results:
            async for result in results:
                found.update(face.subject for face in result.faces)
                if "loop" in how and found["Barack Obama"]:
                    break
        return found

    async def all_of_them():
        return await asyncio.gather(one(still_clip, loop=True), one(still_clip, loop=True), one(clip, paced=False))

    *paced, whole = asyncio.run(all_of_them())
    assert whole["Barack Obama"] > 5
    assert all(found["Barack Obama"] == 1 for found in paced)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_loop_is_not_blocked_by_the_real_engine(people, clip, monkeypatch):
    rounds = Rounds()

    def waits(method):
        def call(*args, **kwargs):
            rounds.wait()
            return method(*args, **kwargs)

        return call

    for name in ("find", "describe", "described_all"):
        monkeypatch.setattr(Engine, name, waits(getattr(Engine, name)))

    async def watched():
        async for _ in people.watch(clip):
            pass

    asyncio.run(rounds.during(watched()))
    assert not rounds.held_up
    assert rounds.threads and threading.get_ident() not in rounds.threads
