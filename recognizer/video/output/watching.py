"""`watch`: live recognition for any asyncio program."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Collection
from concurrent.futures import Executor
from contextlib import aclosing

from recognizer.core.errors import InvalidParameter, InvalidSource
from recognizer.video.frames import FrameResult, Vision
from recognizer.video.sources.camera import Camera
from recognizer.video.sources.source import CameraSource, parse_source
from recognizer.video.tracking.pipeline import Pipeline, Thoroughness, Wants
from recognizer.video.tracking.workers import Workers, cores, sensible


def watch(
    source: str | int | os.PathLike[str] | CameraSource | Camera,
    people,
    *,
    objects: bool = False,
    landmarks: int = 5,
    attributes: str | Collection[str] | None = None,
    detect_every: int | None = None,
    executor: Executor | None = None,
    loop: bool = False,
    paced: bool = True,
) -> AsyncGenerator[FrameResult, None]:
    """Track and name the faces of a camera or a recording.

    ::

        async for result in watch("clip.mp4", people):
            print([face.subject for face in result.faces])

    The iterator ends when the source does; a camera that is lost is waited for. Closing it (``aclose``, or leaving
    ``async with contextlib.aclosing(...)``) frees the camera and all threads. Of a live source, or a recording played at
    its own speed, each step gives the newest picture; `FrameResult.dropped` counts those that were skipped.

    Parameters
    ----------
    source : str, int, path, Source or Camera
        A webcam's number, a URL, a video file, a folder of photos, ``test:``; see `source.parse_source`. A camera that is
        given is started, and left running for whoever it belongs to.
    people : People or Vision
        Who may be named.
    objects : bool
        Find objects too.
    landmarks : {5, 68}
    attributes : str or collection of str, optional
        Say how each face looks, decided over its good pictures: some of ``age``, ``gender`` and ``expression``. Of a `People`,
        its setting has to enable them.
    detect_every : int, optional
        Look for faces in every so many pictures, instead of as often as speed allows.
    executor : Executor, optional
        Where the work is done; by default threads of its own, half as many as there are processor cores.
    loop : bool
        Begin a recording again when it ends.
    paced : bool
        Play a recording at its own speed, passing over what there is no time for; else look at every picture, however
        long it takes. Cameras are always live.

    Raises
    ------
    InvalidSource
        It names no source; or, while iterating, it ended before the first picture came.
    InvalidParameter, AttributesOff, ModelError
    """
    if landmarks not in (5, 68):
        raise InvalidParameter(f"landmarks: expected 5 or 68, got {landmarks}")
    if detect_every is not None and detect_every < 1:
        raise InvalidParameter(f"detect_every: expected at least 1, got {detect_every}")
    vision = people.vision if hasattr(people, "service") else people
    own = not isinstance(source, Camera)
    if isinstance(source, Camera):
        camera = source
    elif isinstance(source, CameraSource):
        camera = Camera(source, paced=paced)
    else:
        text = source if isinstance(source, int) else os.fspath(source)
        camera = Camera(parse_source(text, loop=loop), paced=paced)
    chosen = people.service.attribute_finder.chosen if hasattr(people, "service") else tuple
    wants = Wants(landmarks == 68, objects, attributes=frozenset(chosen(attributes or ())))
    return _watch(camera, own, vision, wants, detect_every, executor)


async def _watch(
    camera: Camera, own: bool, vision: Vision, wants: Wants, detect_every: int | None, executor: Executor | None
) -> AsyncGenerator[FrameResult, None]:
    workers = Workers(sensible(cores())) if executor is None else executor
    camera.start()
    try:
        pipeline = Pipeline(
            camera,
            vision,
            executor=workers,
            wants=lambda: wants,
            thoroughness=Thoroughness(detect_every, complete=not camera.paced, strict=True),
        )
        none = True
        async with aclosing(pipeline.results()) as results:
            async for result in results:
                none = False
                yield result
        if none and camera.state.name == "ended":
            raise InvalidSource(f"{camera.source.shown}: {camera.state.reason or 'no picture came'}")
    finally:
        if own:
            await asyncio.to_thread(camera.stop)
        if executor is None:
            workers.shutdown(wait=False)  # no job is left: the pipeline waited for its own
