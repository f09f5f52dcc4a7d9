"""The public names of `recognizer.video.frames`, under the address that docs/video.md promises."""

from recognizer.video.frames import Frame, FrameResult, TrackedFace, Vision

__all__ = ["Frame", "FrameResult", "TrackedFace", "Vision"]
