"""The composition root: puts the parts together and offers what the routes and commands call.

`assembly.make_service` makes a `composition.Service` from settings. Each part receives what it needs: `recognition` finds and
names faces on photos, `subjects` changes who is enrolled, `matcher` decides whose face it is, `groups` has all galleries,
`tuning` has the settings in force, `events`, `strangers` and `video` are about cameras, `health` reports the state of
everything.
"""

from recognizer.service.assembly import make_service, needed_files
from recognizer.service.composition import Service

__all__ = ["Service", "make_service", "needed_files"]
