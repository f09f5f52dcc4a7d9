"""Bulk work on Apache Spark: photos to faces with templates, templates to names, templates to groups.

::

    from recognizer import spark

    session = spark.open_session("local[4]")
    faces = spark.encode(session.read.format("binaryFile").load("photos/"))
    named = spark.match(faces, known_faces="known_faces")
    grouped = spark.group(faces)

The command `recognizer spark` does the same from files to files. docs/spark.md describes both, and the columns.
"""

from __future__ import annotations

from typing import Any

#: Where each public name is defined. They are imported when they are first used: a Python worker of Spark imports this package
#: for each kind of task, and needs only the parts of that task.
_HOMES = {
    "encode": "encode_photos",
    "group": "group_faces",
    "match": "match_faces",
    "open_session": "spark_session",
    "FACE_COLUMNS": "face_columns",
    "MATCH_COLUMNS": "face_columns",
    "GROUP_COLUMNS": "face_columns",
}
__all__ = ["FACE_COLUMNS", "GROUP_COLUMNS", "MATCH_COLUMNS", "encode", "group", "match", "open_session"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"recognizer.spark.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
