"""watch: follow and name faces on a camera or in a recording."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import click

from recognizer.commands.common import group_options, group_service, plain, say, state
from recognizer.core.wording import plural

_REFRESH = 0.2  # seconds between updates of the terminal


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write an annotated video: .mp4, .mkv, .mov or .avi. Every frame of a recording is written.",
)
@click.option("--window", is_flag=True, help="Show the frames in a window; needs a screen.")
@click.option("--every-frame", is_flag=True, help="Process every frame of a recording, however long it takes.")
@click.option("--loop", is_flag=True, help="Repeat a recording when it ends.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="N", help="Stop after N seconds.")
@click.option("--objects", is_flag=True, help="Detect objects as well.")
@click.option(
    "--landmarks",
    type=click.Choice(["5", "68"]),
    help="Landmarks of each face. The weights for 68 points must not be used commercially.",
)
@click.option(
    "--attributes",
    metavar="NAME,...",
    help="Say how each face looks: age, gender, expression. RECOGNIZER_ATTRIBUTES has to name them.",
)
@group_options
def watch(source, output, window, every_frame, loop, seconds, objects, landmarks, attributes):
    """Follow and name the faces on a camera or in a recording.

    SOURCE is a webcam's number, an rtsp, rtmp, http or https URL, a video file, a folder of photos, or test: for a moving
    pattern. With --json, one JSON document per picture and line. Ends with the recording, or when interrupted.
    """
    import asyncio

    from recognizer.core.progress import Progress
    from recognizer.video.output.recorder import Recorder
    from recognizer.video.sources.camera import Camera
    from recognizer.video.sources.source import parse_source

    parsed = parse_source(source, loop=loop)
    recorder = Recorder(output) if output else None
    shown = None
    if window:
        from recognizer.commands.window import Window

        shown = Window(parsed.shown)
    paced = parsed.live or not (every_frame or output)
    with group_service() as (made, group), contextlib.ExitStack() as stack:
        if shown:
            stack.callback(shown.close)
        if not len(group.gallery):
            say(f"nobody is enrolled: put photos into {plain(group.enrolment.place)}/NAME/, or use `enroll`")
        wanted = made.attribute_finder.chosen(attributes)
        if wanted:
            with Progress() as progress:
                made.attribute_finder.reader(progress.download)
        camera = Camera(parsed, paced=paced)
        stack.callback(camera.stop)
        view = _Json(bool(landmarks)) if state().json else _terminal(camera)
        stack.enter_context(view)
        with _recording(recorder):
            options = {"objects": objects, "landmarks": int(landmarks or 5), "attributes": wanted}
            vision = made.vision_of(group)
            ended = asyncio.run(_ended_by(_follow(made, vision, camera, view, recorder, shown, seconds, options)))
    if recorder:
        say(f"saved as {plain(str(output))}: {plural(recorder.written, 'picture')}")
    return 128 + ended if ended else None


async def _ended_by(work) -> int | None:
    """Do `work`; SIGTERM and SIGHUP end it as Ctrl-C does, so that a video is complete. The signal that ended it, or None."""
    import asyncio

    task, ended = asyncio.ensure_future(work), []

    def end(number: int) -> None:
        ended.append(number)
        task.cancel()

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # what nohup ignores stays ignored
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or another thread
                asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not ended:
            raise
    return ended[0] if ended else None


@contextlib.contextmanager
def _recording(recorder):
    try:
        yield
    finally:
        if recorder:
            recorder.close()


async def _follow(made, vision, camera, view, recorder, window, seconds: float | None, options: dict) -> None:
    """Show and write each result until the source ends or the time is up."""
    import asyncio

    from recognizer.video.output.watching import watch

    layers = {"faces"} | ({"landmarks68"} if options["landmarks"] == 68 else set())
    layers |= ({"objects"} if options["objects"] else set()) | set(options["attributes"])
    until = None if seconds is None else time.monotonic() + seconds
    results = watch(camera, vision, executor=made.video.workers, **options)
    async with contextlib.aclosing(results):
        while (left := None if until is None else until - time.monotonic()) is None or left > 0:
            try:
                result = await asyncio.wait_for(anext(results), left)
            except (StopAsyncIteration, asyncio.TimeoutError):
                break
            view.show(result, camera)
            if recorder or window:
                drawn = await asyncio.to_thread(_drawn, result, made, frozenset(layers))
                if recorder:
                    at = result.frame.taken if camera.paced else result.frame.position
                    await asyncio.to_thread(recorder.add, drawn, result.frame.taken if at is None else at)
                if window:
                    window.show(drawn)
                    if window.closed:
                        break


def _drawn(result, made, layers: frozenset[str]):
    from recognizer.video.output import overlay
    from recognizer.weights import manifest

    return overlay.draw(result, layers=layers, font=manifest.path("font", made.settings.models_dir))


# -- views ------------------------------------------------------------------------------------------------------------


class _Json:
    """One line of JSON per frame."""

    def __init__(self, landmarks: bool):
        self._landmarks = landmarks

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        pass

    def show(self, result, camera) -> None:
        from recognizer.http import replies

        click.echo(json.dumps(replies.followed(result, landmarks=self._landmarks)))


class _Present:
    """Who is present and since when, and the changes to report."""

    def __init__(self):
        self.faces: dict[int, object] = {}
        self._said: dict[int, str] = {}

    def update(self, result) -> list[tuple[str, str]]:
        """The changes of a result, as (name, what happened)."""
        changes = []
        self.faces = {face.track: face for face in result.faces}
        for face in result.faces:
            name = who(face)
            if face.decided and self._said.get(face.track) != name:
                before = self._said.get(face.track)
                changes.append((name, "is there" if before is None else f"is there, taken for {before} before"))
                self._said[face.track] = name
        for track in result.ended:
            name = self._said.pop(track, "")
            if name:
                changes.append((name, "left"))
        return changes


def who(face) -> str:
    return face.subject or ("unknown" if face.decided else "...")


class _Lines:
    """One line whenever somebody comes or goes, for pipes and logs."""

    def __init__(self, camera):
        self._presence = _Present()
        self._end = camera.subscribe(lambda state: say(f"{camera.source.shown}: {_state(state)}"))

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self._end()

    def show(self, result, camera) -> None:
        for name, change in self._presence.update(result):
            click.echo(f"{_clock(result)}  {plain(name)} {change}")


class _Screen:
    """A table on a terminal that is updated as people come and go."""

    def __init__(self, camera):
        from rich.console import Console
        from rich.live import Live

        self._presence, self._times = _Present(), deque(maxlen=60)
        self._live = Live(console=Console(highlight=False), auto_refresh=False)
        self._camera, self._drawn, self._dropped = camera, 0.0, 0
        self._end: Callable[[], None] = camera.subscribe(lambda told: None)

    def __enter__(self):
        self._live.__enter__()
        return self

    def __exit__(self, *exception) -> None:
        self._end()
        self._live.__exit__(*exception)

    def show(self, result, camera) -> None:
        now = time.perf_counter()
        self._dropped += result.dropped
        self._times.append((now, 1000 * (now - result.frame.taken)))
        for name, change in self._presence.update(result):
            self._live.console.print(f"{_clock(result)}  {plain(name)} {change}", markup=False)
        if now - self._drawn >= _REFRESH:
            self._drawn = now
            self._live.update(self._table(result), refresh=True)

    def _table(self, result):
        from rich import box
        from rich.table import Table
        from rich.text import Text

        from recognizer.video.output.overlay import sureness

        times = list(self._times)
        passed = times[-1][0] - times[0][0]
        rate = (len(times) - 1) / passed if passed > 0 else 0.0
        delay = sorted(delay for _, delay in times)[len(times) // 2]
        title = (
            f"{plain(self._camera.source.shown)}: {_state(self._camera.state)}  {rate:.1f} fps  "
            f"{delay:.0f} ms behind  {self._dropped} passed over"
        )
        table = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")
        for heading in ("who", "since", "distance", "wrong once in", "face", "track"):
            table.add_column(heading)
        for face in self._presence.faces.values():
            match = face.seen.match
            once = "" if match is None else sureness(match).removeprefix("1 in ")
            distance = "" if match is None or match.distance is None else f"{match.distance:.3f}"
            since = time.strftime("%H:%M:%S", time.localtime(face.since))
            size = f"{face.box.width:.0f}x{face.box.height:.0f}"
            style = "green" if face.subject else "yellow" if face.decided else "dim"
            table.add_row(Text(plain(who(face))), since, distance, once, size, str(face.track), style=style)
        return table


def _state(told) -> str:
    return f"{told.name} ({plain(told.reason)})" if told.reason else told.name


def _clock(result) -> str:
    if result.frame.position is not None:
        minutes, seconds = divmod(result.frame.position, 60)
        return f"{int(minutes):02}:{seconds:04.1f}"
    return time.strftime("%H:%M:%S", time.localtime(result.frame.time))


def _terminal(camera):
    return _Screen(camera) if sys.stdout.isatty() else _Lines(camera)


COMMANDS = (watch,)
