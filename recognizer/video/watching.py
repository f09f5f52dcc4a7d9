"""The public names of `recognizer.video.output.watching`, under the address that docs/video.md promises."""

from recognizer.video.output.watching import watch

__all__ = ["watch"]
