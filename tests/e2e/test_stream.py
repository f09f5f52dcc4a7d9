"""Live streams of a real server, watched through real sockets: many viewers, slow ones, stuck ones, lost cameras."""

import contextlib
import json
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import simplejpeg

from recognizer.video.sources import pattern

from .serving import Server, altered, code
from .watching import Stream

SIZE = (640, 360)
#: A server of which a viewer may want one picture in a quarter of an hour.
SELDOM = altered("from recognizer.video.output import mjpeg\nmjpeg.LIMITS['fps'] = (0.001, 120)")
CAMERA = f"test:{SIZE[0]}x{SIZE[1]}@30"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("stream"), SELDOM, camera=CAMERA) as server:
        yield server


@pytest.fixture(autouse=True)
def nobody_watches(request):
    """Each test begins and ends without viewers."""
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        yield
        server.wait_for(lambda: viewers(server) == 0)
    else:
        yield


def video(server: Server) -> dict:
    return server.get("/health").json()["video"]


def viewers(server: Server) -> int:
    return video(server)["viewers"]


def stream(server: Server, query: str = "", **how) -> Stream:
    return Stream(server.port, "/stream" + query, **how)


def picture(watching: Stream):
    """The next part that shows the camera, and its number: cards are passed over."""
    for part in watching.parts(seconds=40):
        read = pattern.read(part.pixels())
        if read is not None:
            return part, read[0]
    raise AssertionError("no picture came")


# -- what is sent ----------------------------------------------------------------------------------------------------


def test_pictures_come_one_after_the_other_as_the_camera_gives_them(server):
    with stream(server) as watching:
        assert watching.begin().status == 200
        assert watching.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        assert "no-store" in watching.headers["cache-control"]
        assert "transfer-encoding" not in watching.headers and watching.headers["connection"] == "close"
        picture(watching)
        seen = [(part, pattern.read(part.pixels())) for part in watching.parts(30)]
    for part, _ in seen:
        assert part.headers["content-type"] == "image/jpeg" and part.pixels().shape == (SIZE[1], SIZE[0], 3)
        assert 0 <= part.came - part.time < 5
    numbers = [read[0] for _, read in seen]
    assert numbers == sorted(set(numbers)), "every picture is newer than the one before"


@pytest.mark.parametrize(
    ("query", "size"), [("", SIZE), ("?width=320", (320, 180)), ("?width=4000", SIZE), ("?width=16", (16, 9))]
)
def test_width(server, query, size):
    with stream(server, query) as watching:
        part = next(part for part in watching.parts() if size[0] < 100 or pattern.read(part.pixels()))
        assert part.pixels().shape == (size[1], size[0], 3)


def test_quality(server):
    lengths = []
    for quality in (10, 50, 95):
        with stream(server, f"?quality={quality}") as watching:
            lengths.append(len(picture(watching)[0].jpeg))
    assert lengths[0] < lengths[1] < lengths[2]


def test_fps(server):
    with stream(server, "?fps=5") as watching:
        picture(watching)
        times = [part.time for part in watching.parts(6)]
    assert 0.15 < np.diff(times).mean() < 0.4


def test_overlay(server):
    with stream(server, "?overlay=none&quality=100") as plain, stream(server, "?overlay=clock,fps&quality=100") as clock:
        picture(plain)
        picture(clock)
        bare = {pattern.read(part.pixels())[0]: part.pixels() for part in plain.parts(25)}
        drawn = {pattern.read(part.pixels())[0]: part.pixels() for part in clock.parts(25)}
        both = sorted(set(bare) & set(drawn))
        assert both
        difference = np.abs(bare[both[0]].astype(int) - drawn[both[0]]).max(axis=-1) > 40
        assert difference[:16, :100].mean() > 0.2 and difference[:16, -30:].mean() > 0.2
        assert not difference[40:].any()


@pytest.mark.parametrize(
    "query",
    [
        "width=0",
        "width=15",
        "width=100000",
        "width=wide",
        "width=3.5",
        "fps=0",
        "fps=-1",
        "fps=nan",
        "fps=1000",
        "fps=x",
        "quality=0",
        "quality=101",
        "quality=high",
        "overlay=boxes",
        "overlay=faces,none",
        "overlay=,",
        "size=3",
        "width=320&width=640",
        "raw=1",
    ],
)
@pytest.mark.parametrize("path", ["/stream", "/cameras/default/stream"])
def test_parameters_that_cannot_be_are_refused_by_name(server, path, query):
    reply = server.get(f"{path}?{query}")
    assert reply.status_code == 400 and code(reply) == "invalid_parameter"
    assert reply.json()["error"]["message"].startswith(query.partition("=")[0])


def test_a_camera_that_is_not_there(server):
    for path in ("/cameras/nowhere/stream", "/cameras/nowhere/snapshot.jpg", "/cameras/%2e%2e/stream"):
        reply = server.get(path)
        assert reply.status_code == 404 and code(reply) == "camera_not_found"


def test_the_camera_of_the_setting_has_a_stream_of_its_own_too(server):
    with Stream(server.port, "/cameras/default/stream?width=320") as watching:
        assert picture(watching)[0].pixels().shape[1] == 320


# -- snapshots -------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_a_picture_of_now(server):
    before = time.time()
    reply = server.get("/cameras/default/snapshot.jpg", params={"width": 320, "quality": 70, "overlay": "faces,clock"})
    assert reply.status_code == 200 and reply.headers["Content-Type"] == "image/jpeg"
    assert "no-store" in reply.headers["Cache-Control"]
    shown = simplejpeg.decode_jpeg(reply.content)
    assert shown.shape == (180, 320, 3)
    assert before - 1 < float(reply.headers["X-Timestamp"]) <= time.time()


def test_a_raw_snapshot_has_nothing_drawn_on_it(server):
    reply = server.get("/cameras/default/snapshot.jpg?raw=1&quality=95")
    shown = simplejpeg.decode_jpeg(reply.content)
    number, milliseconds = pattern.read(shown)
    assert shown.shape == (SIZE[1], SIZE[0], 3) and abs(pattern.age(milliseconds, time.time())) < 5
    expected = pattern.Pattern(*SIZE).draw(number, 0)
    assert np.abs(shown[100:300].astype(int) - expected[100:300]).mean() < 6


@pytest.mark.parametrize("query", ["raw=1&overlay=clock", "raw=maybe", "fps=5", "width=1", "quality=0", "overlay=x"])
def test_snapshots_that_cannot_be(server, query):
    reply = server.get(f"/cameras/default/snapshot.jpg?{query}")
    assert reply.status_code == 400 and code(reply) == "invalid_parameter"


# -- many viewers ----------------------------------------------------------------------------------------------------


def test_viewers_of_one_view_get_the_same_bytes_and_the_camera_stops_when_all_are_gone(server):
    with contextlib.ExitStack() as stack:
        watching = [stack.enter_context(stream(server)) for _ in range(4)]
        for each in watching:
            picture(each)
        assert video(server) == {"viewers": 4, "running": ["default"]}
        with ThreadPoolExecutor(4) as four:
            seen = list(four.map(lambda each: {part.headers["x-timestamp"]: part.jpeg for part in each.parts(30)}, watching))
    shared = {stamp for each in seen for stamp in each if sum(stamp in other for other in seen) > 1}
    assert shared
    for stamp in shared:
        assert len({each[stamp] for each in seen if stamp in each}) == 1
    server.wait_for(lambda: video(server) == {"viewers": 0, "running": []})


def test_ten_viewers_that_leave_at_once_are_noticed_at_once(server):
    with stream(server) as staying:
        picture(staying)
        leaving = [stream(server).begin() for _ in range(10)]
        server.wait_for(lambda: viewers(server) == 11)
        for each in leaving:
            each.close()
        server.wait_for(lambda: viewers(server) == 1)
        _, number = picture(staying)
        assert picture(staying)[1] > number


def test_a_viewer_that_leaves_while_nothing_is_sent_is_noticed(server):
    with stream(server, "?fps=0.001") as watching:
        picture(watching)
        server.wait_for(lambda: viewers(server) == 1)
        watching.close()
        server.wait_for(lambda: viewers(server) == 0)


def test_a_slow_viewer_skips_and_sees_the_present_while_others_see_everything(server):
    with stream(server, "?quality=100") as quick, stream(server, "?quality=100", buffer=16 * 1024) as slow:
        picture(quick)
        picture(slow)
        done = threading.Event()

        def read_slowly():
            seen = []
            while not done.is_set():
                part, number = picture(slow)
                seen.append((number, pattern.age(pattern.read(part.pixels())[1], part.came)))
                time.sleep(0.4)
            return seen

        with ThreadPoolExecutor(1) as one:
            reading = one.submit(read_slowly)
            numbers = [picture(quick)[1] for _ in range(150)]
            done.set()
            seen = reading.result()
    assert np.diff([number for number, _ in seen]).mean() > 1.5 * np.diff(numbers).mean()
    ages = [age for _, age in seen[1:]]
    assert max(ages[-3:]) < max(ages[:5]) + 0.5, f"what it sees grows older and older: {ages}"


def test_a_viewer_that_never_reads_delays_nobody_and_is_dropped(server):
    with stream(server, "?quality=100", buffer=4096) as stuck, stream(server) as other:
        server.wait_for(lambda: viewers(server) == 2)
        picture(other)
        while viewers(server) == 2:
            numbers = [picture(other)[1] for _ in range(15)]
            assert len(set(numbers)) == 15
        assert stuck.ends()


# -- limits ----------------------------------------------------------------------------------------------------------


def test_streams_never_take_what_answers_requests_and_all_end_with_the_server(tmp_path):
    with Server(tmp_path, camera=CAMERA, streams=3, http_threads=2) as server, contextlib.ExitStack() as stack:
        watching = [stack.enter_context(stream(server, "?quality=100", buffer=4096)) for _ in range(3)]
        server.wait_for(lambda: viewers(server) == 3)
        with stream(server) as refused:
            assert refused.begin().status == 503 and refused.headers["retry-after"]
        for _ in range(5):
            with ThreadPoolExecutor(2) as two:
                assert all(two.map(lambda _: server.get("/people").status_code == 200, range(4)))
        assert viewers(server) == 3
        assert server.stop() == 0
        assert all(each.ends() for each in watching)
        assert "Traceback" not in server.log() and "still running" not in server.log()


def test_a_restart_while_somebody_watches(tmp_path):
    with Server(tmp_path, camera=CAMERA) as server:
        for _ in range(2):
            with stream(server) as watching:
                picture(watching)
                server.restart()
                assert watching.ends()
        with stream(server) as watching:
            picture(watching)


# -- a camera that is not there --------------------------------------------------------------------------------------


class Camera:
    """An MJPEG camera on loopback, which can be switched off and on."""

    def __init__(self):
        self.on = threading.Event()
        pictures = pattern.Pattern(*SIZE)
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                if not camera.on.is_set():
                    return self.send_error(503)
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
                self.end_headers()
                number = 0
                with contextlib.suppress(OSError):
                    while camera.on.is_set():
                        jpeg = simplejpeg.encode_jpeg(pictures.draw(number, time.time()), 85)
                        self.wfile.write(b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                        self.wfile.write(jpeg + b"\r\n")
                        number += 1
                        time.sleep(0.04)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://somebody:secret123@127.0.0.1:{self.server.server_port}/video"

    def __enter__(self):
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.on.clear()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


def test_while_a_camera_is_lost_viewers_see_a_card_and_then_the_picture_again(tmp_path):
    with Camera() as camera, Server(tmp_path, camera=camera.url) as server, stream(server) as watching:
        for card in watching.parts(3):  # it is shown again and again
            pixels = card.pixels()
            assert pattern.read(pixels) is None and np.median(pixels) < 60 and pixels.max() > 200
        reply = server.get("/cameras/default/snapshot.jpg")
        assert reply.status_code == 503 and code(reply) == "camera_unavailable" and reply.headers["Retry-After"]
        assert "secret123" not in reply.text and "somebody" not in reply.text
        camera.on.set()
        part, _ = picture(watching)
        assert part.pixels().shape == (SIZE[1], SIZE[0], 3)
        assert server.get("/cameras/default/snapshot.jpg").status_code == 200
        camera.on.clear()
        card = next(part for part in watching.parts() if pattern.read(part.pixels()) is None)
        assert card.pixels().shape == (SIZE[1], SIZE[0], 3), "as large as the picture was"
        camera.on.set()
        picture(watching)
        assert "secret123" not in server.log()


# -- other programs --------------------------------------------------------------------------------------------------


def program(name: str) -> str:
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def url(server: Server, query: str = "") -> str:
    return f"{server.url}/stream{query}"


@pytest.fixture
def running(server):
    """The server with a live camera: who comes now is sent no card that says that it is connecting."""
    with stream(server) as watching:
        picture(watching)
        yield server


def test_ffmpeg_reads_the_stream(running, tmp_path):
    done = subprocess.run(
        [program("ffmpeg"), "-v", "error", "-f", "mpjpeg", "-i", url(running), "-frames:v", "20", "-y", tmp_path / "%02d.png"],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    import cv2

    pictures = [cv2.imread(str(path)) for path in sorted(tmp_path.glob("*.png"))]
    assert len(pictures) == 20 and pictures[0].shape == (SIZE[1], SIZE[0], 3)
    numbers = [read[0] for read in map(pattern.read, pictures) if read]
    assert len(set(numbers)) >= 10


def test_ffmpeg_recognises_the_format_by_itself(running):
    shown = subprocess.run(
        [program("ffprobe"), "-v", "error", "-of", "json", "-show_streams", url(running)],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    [found] = json.loads(shown.stdout)["streams"]
    assert (found["codec_name"], found["width"], found["height"]) == ("mjpeg", *SIZE)


def test_curl_reads_the_stream(running):
    with subprocess.Popen([program("curl"), "-sN", url(running)], stdout=subprocess.PIPE, bufsize=0) as curl:
        parts = 0
        while parts < 5:
            line = curl.stdout.readline()
            assert line, "the stream ended"
            parts += line == b"--frame\r\n"
        curl.terminate()


def test_opencv_reads_the_stream(running):
    import cv2

    capture = cv2.VideoCapture(url(running), cv2.CAP_FFMPEG)
    try:
        numbers = []
        for _ in range(30):
            ok, frame = capture.read()
            assert ok and frame.shape == (SIZE[1], SIZE[0], 3)
            numbers += [read[0] for read in [pattern.read(frame)] if read]
        assert len(set(numbers)) > 10
    finally:
        capture.release()
