"""The public names of `recognizer.video.sources.camera`, under the address that docs/video.md promises."""

from recognizer.video.sources.camera import MOST_BROKEN, Camera, CameraState, CameraTimeouts

__all__ = ["Camera", "CameraState", "CameraTimeouts", "MOST_BROKEN"]
