"""The public names of `recognizer.video.sources.source`, under the address that docs/video.md promises."""

from recognizer.video.sources.source import (
    LIVE,
    MOST_DEVICES,
    ONCE,
    PORTS,
    RECORDINGS,
    CameraSource,
    SourceView,
    StreamUrl,
    parse_source,
    pattern_size,
    shown_url,
    split_url,
)

#: The name that this class had before 0.2.
Source = CameraSource

__all__ = [
    "LIVE",
    "MOST_DEVICES",
    "ONCE",
    "PORTS",
    "RECORDINGS",
    "CameraSource",
    "Source",
    "StreamUrl",
    "SourceView",
    "parse_source",
    "pattern_size",
    "shown_url",
    "split_url",
]
