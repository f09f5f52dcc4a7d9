"""The columns of the tables that bulk work writes, and their types by Spark's names; docs/spark.md describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

#: How a face looks; null where nothing is said, or nothing was asked.
LOOKS = {
    "age_low": "int",
    "age_high": "int",
    "gender": "string",
    "gender_probability": "double",
    "expression": "string",
    "expression_probability": "double",
}
#: One row for each face; one for a photo without any, and one for a photo that cannot be used.
FACE_COLUMNS: dict[str, str] = {
    "source": "string",
    "photo": "string",
    "width": "int",
    "height": "int",
    "face": "int",
    "left": "double",
    "top": "double",
    "right": "double",
    "bottom": "double",
    "score": "double",
    "landmarks": "array<float>",
    "engine": "string",
    "template": "array<float>",
    "comparable": "boolean",
    "doubt": "double",
    "rate_factor": "double",
    "remarks": "array<string>",
    "quality": "double",
    "size": "double",
    "sharpness": "double",
    "yaw": "double",
    "pitch": "double",
    "roll": "double",
    "cut_off": "double",
    "brightness": "double",
    "contrast": "double",
    "clipped": "double",
    **LOOKS,
    "error": "string",
    "message": "string",
}
#: What `match` adds to a row of a face.
MATCH_COLUMNS: dict[str, str] = {
    "subject": "string",
    "distance": "double",
    "threshold": "double",
    "false_match_rate": "double",
    "ambiguous": "boolean",
    "candidates": "array<struct<subject:string,distance:double>>",
}
#: What identifies a face, in every table.
FACE_KEY = ("source", "photo", "face")
#: What `group` says of each face.
GROUP_COLUMNS: dict[str, str] = {
    **{name: FACE_COLUMNS[name] for name in FACE_KEY},
    "group": "bigint",
    "unfit": "string",
}


def spark_schema(columns: Mapping[str, str]) -> str:
    """The columns as Spark takes a schema."""
    return ", ".join(f"`{name}` {kind}" for name, kind in columns.items())


def arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    """The columns as an Arrow schema."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "array<float>": pa.list_(pa.float32()),
        "array<string>": pa.list_(pa.string()),
        MATCH_COLUMNS["candidates"]: pa.list_(pa.struct([("subject", pa.string()), ("distance", pa.float64())])),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in columns.items()])


def to_batch(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pa.RecordBatch:
    """Rows as one Arrow batch; what a row lacks is null. Vectors may be arrays of float32, which are not taken apart."""
    import pyarrow as pa

    schema = arrow_schema(columns)
    return pa.RecordBatch.from_arrays(
        [pa.array([row.get(field.name) for row in rows], field.type) for field in schema], schema=schema
    )
