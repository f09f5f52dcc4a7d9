"""The server's video, with real cameras (moving patterns), the real pipeline and real threads; only the engine is a double."""

import gc
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg

from recognizer.core.errors import Busy, CameraNotFound, CameraUnavailable
from recognizer.core.types import Faces, Match
from recognizer.video.camera_settings import parse_settings
from recognizer.video.output import live as module
from recognizer.video.output import mjpeg
from recognizer.video.output.live import Live, LiveOptions
from recognizer.video.output.mjpeg import ViewKey
from recognizer.video.sources import pattern
from recognizer.video.sources.cameras import Cameras
from recognizer.video.tracking.workers import Workers

from .streams import HttpCamera
from .video_actors import Actor, Vision, axis

SOON = 60.0
PATTERN = "test:320x180@30"


class Blind:
    """An engine that finds nobody, and counts what it is asked."""

    generation = 0
    same_within = other_beyond = None

    def __init__(self):
        self.asked = Counter()
        self.fails = False

    def detect(self, image):
        self.asked["detect"] += 1
        if self.fails:
            raise RuntimeError("the engine is broken")
        return Faces.empty()

    def describe(self, image, faces, qualities):
        return np.zeros((len(faces), 4), np.float32), []

    def match(self, vectors):
        return [Match(None, None, 0.5)] * len(vectors)

    def decide(self, candidates):
        return Match(None, None, 0.5)

    def qualities(self, image, faces):
        return [None] * len(faces)

    def landmarks_68(self, image, faces):
        self.asked["landmarks_68"] += 1
        return np.zeros((len(faces), 68, 2), np.float32)

    def objects(self, pixels, threshold):
        self.asked["objects"] += 1
        return []


def wait_until(condition, seconds: float = SOON):
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return value


@pytest.fixture
def around(tmp_path):
    """Cameras, an engine, and a `Live` of them, which is closed at the end; then nothing is left."""
    before = set(threading.enumerate())
    made = SimpleNamespace(cameras=Cameras(tmp_path / "cameras.json", default=PATTERN), vision=Blind(), executor=Workers(1))
    made.live = Live(made.cameras, made.vision, executor=made.executor, options=LiveOptions(linger=0.3))
    yield made
    made.live.close()
    made.cameras.close()
    made.executor.shutdown()
    wait_until(lambda: not set(threading.enumerate()) - before)


def number_of(found) -> int | None:
    read = pattern.read(simplejpeg.decode_jpeg(found.jpeg))
    return read and read[0]


def pictures(view, count: int) -> list:
    """So many pictures of the camera, cards left out."""
    found, number, until = [], 0, time.monotonic() + SOON
    while len(found) < count:
        assert time.monotonic() < until
        encoded = view.next(number, 1)
        if encoded is not None:
            number = encoded.number
            found += [] if encoded.card else [encoded]
    return found


def test_nothing_runs_until_somebody_watches_and_closing_twice_is_no_trouble(around):
    assert around.live.summary() == {"viewers": 0, "running": []}
    assert not any(thread.name == "video-loop" for thread in threading.enumerate())
    around.live.close()
    around.live.close()
    with pytest.raises(Busy):
        around.live.watch(ViewKey("default"))


def test_a_camera_runs_while_it_is_watched_and_a_little_longer(around):
    camera = around.cameras.get("default").camera
    with around.live.view(ViewKey("default")) as view:
        first, second = pictures(view, 2)
        assert number_of(second) > number_of(first)
        assert around.live.summary() == {"viewers": 1, "running": ["default"]}
    assert around.live.viewers() == 0
    wait_until(lambda: not camera.running and around.live.running() == [])
    with around.live.view(ViewKey("default")) as view:
        assert pictures(view, 1)


@pytest.mark.slow
def test_who_comes_back_in_time_finds_the_camera_running(around):
    around.live.linger = 3600.0
    camera = around.cameras.get("default").camera
    for _ in range(4):
        with around.live.view(ViewKey("default")) as view:
            pictures(view, 1)
        number = camera.newest().number
        wait_until(lambda number=number: camera.newest().number > number + 3)  # while nobody watches
    assert camera.counts["connects"] == 1


@pytest.mark.slow
def test_one_view_for_all_who_want_the_same_and_each_picture_encoded_once(around, monkeypatch):
    encodings = Counter()
    encode = mjpeg.encode

    def counting(pixels, quality):
        encodings[quality] += 1
        return encode(pixels, quality)

    monkeypatch.setattr(mjpeg, "encode", counting)
    viewers = [around.live.watch(ViewKey("default", quality=70)) for _ in range(20)]
    assert len({id(viewer.view) for viewer in viewers}) == 1 and around.live.viewers("default") == 20
    got: list[list[bytes]] = [[] for _ in viewers]

    def read(viewer, parts):
        viewer.read()
        parts.extend(viewer.read() for _ in range(30))
        viewer.close()

    threads = [threading.Thread(target=read, args=pair) for pair in zip(viewers, got, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    different = len({part for parts in got for part in parts})
    assert 30 <= different <= encodings[70] <= different + 2
    assert around.live.viewers() == 0


def test_views_that_differ_are_different(around):
    with around.live.view(ViewKey("default", width=160)) as small, around.live.view(ViewKey("default")) as large:
        shapes = {simplejpeg.decode_jpeg(pictures(view, 1)[0].jpeg).shape for view in (small, large)}
    assert shapes == {(90, 160, 3), (180, 320, 3)}


def test_what_nobody_looks_at_is_not_worked_on(around):
    with around.live.view(ViewKey("default", layers=frozenset({"faces"}))) as view:
        pictures(view, 10)
    assert around.vision.asked["detect"] and not around.vision.asked["objects"]
    with around.live.view(ViewKey("default", layers=frozenset({"objects"}))):
        wait_until(lambda: around.vision.asked["objects"])


def test_a_camera_that_is_not_there(around):
    for ask in (around.live.watch, around.live.snapshot, lambda key: around.live.view(key).__enter__()):
        with pytest.raises(CameraNotFound):
            ask(ViewKey("nowhere"))
    assert around.live.viewers() == 0


def test_a_snapshot_opens_the_camera_and_lets_go_of_it(around):
    found = around.live.snapshot(ViewKey("default", fps=0.1))
    assert not found.card and number_of(found) is not None
    again = around.live.snapshot(ViewKey("default"))
    assert number_of(again) > number_of(found)
    wait_until(lambda: around.live.running() == [])


@pytest.mark.slow
def test_a_snapshot_of_a_camera_that_did_not_run_has_names(around, monkeypatch):
    """The first pictures of a camera come before anybody in them was compared; Home Assistant asks for one now and then."""
    ada = axis(0)
    vision = Vision(
        [Actor(ada, lambda number: (80, 90, 60))], {"ada": ada}, lambda step: time.sleep(0.5 * (step == "describe"))
    )
    monkeypatch.setattr(module, "NAMES_SECONDS", SOON)
    drawn = {}
    draw = module.overlay.draw

    def noted(result, **options):
        drawn[result.frame.time] = [face.subject for face in result.faces]
        return draw(result, **options)

    monkeypatch.setattr(module.overlay, "draw", noted)
    workers = Workers(2)
    live = Live(around.cameras, vision, executor=workers)
    try:
        live.snapshot(ViewKey("default", layers=frozenset()))  # waits for nobody's name
        assert drawn.popitem()[1] != ["ada"]
        assert drawn[live.snapshot(ViewKey("default")).time] == ["ada"]
    finally:
        live.close()
        workers.shutdown()


def test_no_more_snapshots_wait_than_are_allowed(around, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SNAPSHOTS", 1)
    with HttpCamera() as web, ThreadPoolExecutor(1) as one:
        web.silent = True
        cameras = Cameras(tmp_path / "silent.json", default=web.url())
        live = Live(cameras, around.vision, executor=around.executor)
        try:
            waiting = one.submit(live.snapshot, ViewKey("default"), timeout=SOON)
            wait_until(lambda: web.seen)
            with pytest.raises(Busy):
                live.snapshot(ViewKey("default"))
            web.silent = False
            assert not waiting.result(SOON).card
            assert not live.snapshot(ViewKey("default")).card
        finally:
            live.close()
            cameras.close()


def lost(tmp_path) -> Cameras:
    """A camera that cannot be reached, on a port where nobody listens."""
    import socket

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        return Cameras(tmp_path / "lost.json", default=f"http://127.0.0.1:{nobody.getsockname()[1]}/video")


def test_while_a_camera_is_lost_viewers_get_cards_and_snapshots_an_error_with_the_reason(around, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CARD_EVERY", 0.1)
    cards = []
    monkeypatch.setattr(
        module.overlay, "card", lambda *said, clock: cards.append(said) or np.zeros((said[1], said[0], 3), np.uint8)
    )
    cameras = lost(tmp_path)
    live = Live(cameras, around.vision, executor=around.executor)
    try:
        with live.view(ViewKey("default", width=320)) as view:
            number = 0
            until = time.monotonic() + SOON
            while not any(title.startswith("No picture") for _, _, title, *_ in cards):
                assert time.monotonic() < until
                found = view.next(number, SOON)
                assert found.card and found.number > number
                number = found.number
        assert {(width, height) for width, height, *_ in cards} == {(320, 180)}
        assert any("Since" in reason for *_, reason, _ in cards)
        with pytest.raises(CameraUnavailable, match="gave no picture: .+"):
            live.snapshot(ViewKey("default"), timeout=1)
    finally:
        live.close()
        cameras.close()


@pytest.mark.slow
def test_a_snapshot_of_a_camera_that_gives_no_picture_whole_says_so(around, tmp_path):
    with HttpCamera() as web:
        web.damage = True
        cameras = Cameras(tmp_path / "damaged.json", default=web.url())
        live = Live(cameras, around.vision, executor=around.executor)
        try:
            with pytest.raises(CameraUnavailable, match="its pictures are damaged"):
                live.snapshot(ViewKey("default"), timeout=2)
        finally:
            live.close()
            cameras.close()


def test_observers_get_every_result_and_state_and_their_failures_harm_nobody(around, caplog):
    seen, states = [], []

    class Observer:
        def __call__(self, entry, result):
            seen.append((entry.id, result.frame.number, threading.current_thread().name))
            raise ValueError("an observer's own trouble")

        def state(self, entry, state):
            states.append(state.name)

    live = Live(around.cameras, around.vision, executor=around.executor, observers=[Observer()])
    with live.view(ViewKey("default")) as view:
        pictures(view, 5)
    live.close()
    assert len(seen) >= 5 and {name for *_, name in seen} == {"video-loop"} and seen[0][0] == "default"
    assert "live" in states and "observer's own trouble" in caplog.text


def test_observers_learn_that_a_camera_is_gone_before_the_next_one_of_its_id_is_live(around):
    told = []

    class Observer:
        def __call__(self, entry, result): ...

        def state(self, entry, state):
            told.append((entry.text, state.name))

        def gone(self, entry):
            told.append((entry.text, "gone"))

    live = Live(around.cameras, around.vision, executor=around.executor, observers=[Observer()])
    try:
        first, second = PATTERN, "test:160x90@30"
        around.cameras.add(first, "Door")
        live.watch(ViewKey("door"))
        wait_until(lambda: (first, "live") in told)
        around.cameras.remove("door")
        around.cameras.add(second, "Door")
        live.watch(ViewKey("door"))
        wait_until(lambda: (second, "live") in told)
        end = told.index((first, "gone"))
        assert end < told.index((second, "live")) and first not in {source for source, _ in told[end + 1 :]}
    finally:
        live.close()
    assert [name for _, name in told].count("gone") == 1  # a server that ends is no news


def test_observers_get_the_faces_in_zones_and_viewers_all(around, monkeypatch):
    ada, bob = axis(0), axis(1)
    actors = [Actor(ada, lambda number: (80, 90, 60)), Actor(bob, lambda number: (240, 90, 60))]
    vision = Vision(actors, {"ada": ada, "bob": bob})
    left = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    settings = {"default": parse_settings({"zones": [{"name": "Hall", "points": left}]})}
    noted, drawn = [], []
    draw = module.overlay.draw

    def note(result, **options):
        drawn.append({face.subject for face in result.faces})
        return draw(result, **options)

    def observe(entry, result):
        noted.extend((face.subject, face.zones) for face in result.faces)

    monkeypatch.setattr(module.overlay, "draw", note)
    live = Live(
        around.cameras, vision, executor=around.executor, observers=[observe], settings_of=lambda camera: settings[camera]
    )
    with live.view(ViewKey("default")) as view:
        wait_until(lambda: view.next(0, 1) and {"ada", "bob"} in drawn and ("ada", ("Hall",)) in noted)
    live.close()
    assert {subject for subject, _ in noted} <= {"ada", None} and all(zones == ("Hall",) for _, zones in noted)


def test_one_viewer_of_several_cameras_keeps_them_running(around):
    around.cameras.add("test:320x180@30", "Door")
    with pytest.raises(CameraNotFound):
        around.live.watch_all([ViewKey("default"), ViewKey("nobody")])
    assert around.live.viewers() == 0
    seen, until = set(), time.monotonic() + SOON
    with around.live.watch_all([ViewKey("default"), ViewKey("door")]) as viewer:
        assert around.live.viewers() == 2
        while len(seen) < 2:
            assert time.monotonic() < until
            seen |= set(re.findall(rb"X-Camera: (\S+)", viewer.read()))
    assert around.live.viewers() == 0


def test_each_stage_tells_how_long_it_took(around):
    told = Counter()
    around.live.close()
    live = Live(
        around.cameras, around.vision, executor=around.executor, timed=lambda stage, seconds: told.update({stage: seconds > 0})
    )
    try:
        live.snapshot(ViewKey("default", layers=frozenset({"objects"})))
    finally:
        live.close()
    assert told["detect"] and told["objects"] and told["encode"]


def test_a_camera_that_is_kept_on_always_runs_without_viewers_until_that_is_changed(around):
    entry = around.cameras.add(PATTERN, "Door", always=True)
    wait_until(lambda: around.live.running() == [entry.id] and around.vision.asked["detect"])
    around.cameras.change(entry.id, always=False)
    wait_until(lambda: around.live.running() == [] and not entry.camera.running)
    around.live.start()
    assert around.live.running() == []


def test_when_a_camera_becomes_another_its_viewers_see_that_one(around):
    entry = around.cameras.add(PATTERN, "Door")
    with around.live.view(ViewKey(entry.id)) as view:
        pictures(view, 1)
        around.cameras.change(entry.id, source="test:640x360@30")
        until = time.monotonic() + SOON
        while simplejpeg.decode_jpeg(pictures(view, 1)[0].jpeg).shape != (360, 640, 3):
            assert time.monotonic() < until
    wait_until(lambda: not entry.camera.running)


def test_when_a_camera_is_removed_its_viewers_end(around):
    entry = around.cameras.add(PATTERN, "Door")
    viewer = around.live.watch(ViewKey(entry.id))
    viewer.read()
    assert viewer.read()
    around.cameras.remove(entry.id)
    wait_until(lambda: viewer.read() == b"")
    viewer.close()
    wait_until(lambda: around.live.running() == [])
    with pytest.raises(CameraNotFound):
        around.live.watch(ViewKey(entry.id))


def test_a_pipeline_that_fails_is_told_and_begun_again(around, monkeypatch, caplog):
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.1,))
    monkeypatch.setattr(module, "_CARD_EVERY", 0.1)
    begun = []

    class Failing(module.Pipeline):
        async def run(self, publish):
            begun.append(1)
            if len(begun) < 3:
                raise RuntimeError("a bug")
            await super().run(publish)

    monkeypatch.setattr(module, "Pipeline", Failing)
    with around.live.view(ViewKey("default")) as view:
        assert view.next(0, SOON).card
        pictures(view, 3)
    assert len(begun) == 3 and caplog.text.count("a bug") >= 2


def test_a_pipeline_that_fails_after_a_healthy_while_is_begun_again_after_the_shortest_pause(around, monkeypatch):
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.01, 3600.0))
    monkeypatch.setattr(module, "_HEALTHY_SECONDS", -1.0)
    begun = []

    class Failing(module.Pipeline):
        async def run(self, publish):
            begun.append(1)
            if len(begun) < 4:
                raise RuntimeError("a bug")
            await super().run(publish)

    monkeypatch.setattr(module, "Pipeline", Failing)
    with around.live.view(ViewKey("default")) as view:
        pictures(view, 2)
    assert len(begun) == 4


def test_observers_are_told_that_a_camera_stopped(around):
    stopped = []

    class Observer:
        def __call__(self, entry, result):
            pass

        def stopped(self, entry):
            stopped.append(entry.id)

    around.live.observers += (Observer(),)
    entry = around.cameras.add(PATTERN, "Door")
    viewer = around.live.watch(ViewKey(entry.id))
    viewer.read()
    around.cameras.remove(entry.id)
    viewer.close()
    wait_until(lambda: stopped == [entry.id])


def test_the_first_failure_of_a_pipeline_that_ran_well_is_followed_by_the_shortest_wait(around, monkeypatch):
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.01, 3600.0))
    monkeypatch.setattr(module, "_HEALTHY_SECONDS", 0.0)  # each run counts as a long one
    begun = []

    class Failing(module.Pipeline):
        async def run(self, publish):
            begun.append(1)
            raise RuntimeError("a bug")

    monkeypatch.setattr(module, "Pipeline", Failing)
    with around.live.view(ViewKey("default")):
        wait_until(lambda: len(begun) >= 4)


def test_closing_while_many_watch_ends_them_all(around):
    viewers = [around.live.watch(ViewKey("default", width=16 * n)) for n in range(1, 11)]
    begun, ended = threading.Barrier(11), []

    def read(viewer):
        viewer.read()
        begun.wait(SOON)
        while viewer.read():
            pass
        viewer.close()
        ended.append(viewer)

    threads = [threading.Thread(target=read, args=(viewer,)) for viewer in viewers]
    for thread in threads:
        thread.start()
    begun.wait(SOON)
    around.live.close()
    for thread in threads:
        thread.join(SOON)
    assert len(ended) == 10 and not around.cameras.get("default").camera.running


@pytest.mark.slow
def test_a_picture_that_stands_still_is_sent_twice_a_second(around, monkeypatch):
    """The camera's noise is the only change; then it moves, and every picture is sent again."""
    random, moving = np.random.default_rng(0), threading.Event()

    def draw(self, number, now):
        noise = random.integers(-4, 5, (360, 640, 1)) + 100
        noise[40:80, 8 * (number % 60) : 8 * (number % 60) + 80] += 100 * moving.is_set()
        return np.broadcast_to(noise.astype(np.uint8), (360, 640, 3))

    monkeypatch.setattr(pattern.Pattern, "draw", draw)
    results = []
    around.live.observers = (lambda entry, result: results.append(result),)
    with around.live.watch(ViewKey("default")) as viewer:
        begun = time.monotonic()
        wait_until(lambda: len(results) >= 40)
        most = 6 + (time.monotonic() - begun) / module.STILL_EVERY  # with cards at the beginning
        still = [result for result in results[10:] if result.still]
        assert len(still) >= 0.8 * len(results[10:])
        assert 1 <= viewer.view._number <= most  # of at least forty
        moving.set()
        begun, number = len(results), viewer.view._number
        wait_until(lambda: len(results) >= begun + 40)
        assert viewer.view._number - number >= 30
    assert around.vision.asked["detect"] < len(results)


@pytest.mark.slow
def test_frames_are_not_kept(around):
    with around.live.view(ViewKey("default")) as view:
        pictures(view, 40)
        gc.collect()
        frames = [thing for thing in gc.get_objects() if isinstance(thing, module.FrameResult)]
        assert len(frames) < 12


@pytest.mark.slow
def test_several_cameras_all_move(around):
    entries = [around.cameras.add(PATTERN, f"Camera {letter}") for letter in "ABCD"]
    seen = {entry.id: 0 for entry in entries}

    def read(entry):
        with around.live.view(ViewKey(entry.id)) as view:
            pictures(view, 1)
            seen[entry.id] = len(pictures(view, 20))

    threads = [threading.Thread(target=read, args=(entry,)) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * SOON)
    assert set(seen.values()) == {20}
