"""`watch`: live recognition for any asyncio program."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import aclosing

from ..errors import InvalidParameter, InvalidSource
from .camera import Camera
from .pipeline import Pipeline, Wants
from .results import FrameResult, Vision
from .source import Source, parse_source
from .workers import Workers, cores, sensible


def watch(
    source: str | int | os.PathLike | Source | Camera,
    people,
    *,
    objects: bool = False,
    landmarks: int = 5,
    detect_every: int | None = None,
    executor: Executor | None = None,
    loop: bool = False,
    paced: bool = True,
) -> AsyncIterator[FrameResult]:
    """Follow and name the faces in what a camera or a recording gives.

    ::

        async for result in watch("clip.mp4", people):
            print([face.subject for face in result.faces])

    The iterator ends when the source does; a camera that is lost is waited for. Closing it (``aclose``, or leaving
    ``async with contextlib.aclosing(...)``) frees the camera and all threads. Of a live source, or a recording played at
    its own speed, each step gives the newest picture; `FrameResult.dropped` counts those that were passed over.

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
    InvalidParameter, ModelError
    """
    if landmarks not in (5, 68):
        raise InvalidParameter(f"landmarks: expected 5 or 68, got {landmarks}")
    if detect_every is not None and detect_every < 1:
        raise InvalidParameter(f"detect_every: expected at least 1, got {detect_every}")
    vision = people.service.video.vision if hasattr(people, "service") else people
    own = not isinstance(source, Camera)
    if own:
        source = Camera(source if isinstance(source, Source) else parse_source(source, loop=loop), paced=paced)
    wants = Wants(landmarks == 68, objects)
    return _watch(source, own, vision, wants, detect_every, executor)


async def _watch(
    camera: Camera, own: bool, vision: Vision, wants: Wants, detect_every: int | None, executor: Executor | None
) -> AsyncIterator[FrameResult]:
    workers = Workers(sensible(cores())) if executor is None else executor
    camera.start()
    try:
        pipeline = Pipeline(
            camera, vision, executor=workers, wants=lambda: wants, detect_every=detect_every,
            complete=not camera.paced, strict=True,
        )  # fmt: skip
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
