"""The public names of `recognizer.video.sources.pattern`, under the address that docs/video.md promises."""

from recognizer.video.sources.pattern import Pattern, age, read

__all__ = ["Pattern", "age", "read"]
