"""The public names of `recognizer.video.sources.camera`, under the address that docs/video.md promises."""

from recognizer.video.sources.camera import MOST_BROKEN, Camera, CameraState

__all__ = ["Camera", "CameraState", "MOST_BROKEN"]
