"""Types of the routes' parameters, as Hug converts them, and what their values must be in JSON and in URLs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import hug

from recognizer.access.keys import ROLES
from recognizer.core.brief import brief
from recognizer.core.errors import BadRequest, InvalidParameter
from recognizer.http import openapi
from recognizer.jobs.job_model import OPERATIONS

number, fraction, text = hug.types.number, hug.types.float_number, hug.types.text
top_k_type = hug.types.in_range(0, 101)
landmarks_type = hug.types.one_of(["5", "68"])
format_type = hug.types.one_of(["json", "jpeg"])
event_id_type = hug.types.in_range(0, 10**15)
events_format_type = hug.types.one_of(["sse", "json", "csv"])
presence_format_type = hug.types.one_of(["json", "csv"])
results_format_type = hug.types.one_of(["json", "ndjson"])
job_operation_type = hug.types.one_of(OPERATIONS)
people_order_type = hug.types.one_of(["name", "photos", "seen", "expires"])
role_type = hug.types.one_of(ROLES)


@hug.type()
def switch(value):
    """true or false, or 1 or 0"""
    said = value.lower() if isinstance(value, str) else value
    if said in (True, "true", "1"):
        return True
    if said in (False, "false", "0"):
        return False
    raise ValueError(f"expected true or false, got {brief(value)!r}")


@hug.type()
def ids(value):
    """ids, as a list or separated by commas"""
    parts = value if isinstance(value, list) else value.split(",")
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("expected ids")
    return [part.strip() for part in parts if part.strip()]


@hug.type()
def urls(value):
    """URLs or ids, as a list or separated by spaces"""
    parts = value if isinstance(value, list) else value.split()
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("expected URLs or ids")
    return [part.strip() for part in parts if part.strip()]


#: What may be said of a photo of a batch, besides its URL.
_BATCH_FIELDS = ("id", "subject")


@hug.type()
def batch(value):
    """URLs, as a list or separated by spaces; in a list, objects with url, subject and id as well"""
    found = []
    for each in value if isinstance(value, list) else value.split():
        item = {"url": each} if isinstance(each, str) else each
        if not isinstance(item, dict) or set(item) - {"url", *_BATCH_FIELDS} or not isinstance(item.get("url"), str):
            raise ValueError("expected URLs, or objects with url, subject and id")
        for name in _BATCH_FIELDS:
            said = item.get(name, "")
            if not isinstance(said, str) or len(said) > 500 or not said.isprintable():
                raise ValueError(f"expected {name} as printable text of at most 500 characters")
        source = {name: item[name] for name in ("url", "id") if name in item}
        found.append({"source": source, "subject": item.get("subject")})
    return found


def _json_list(value):
    """A list, or the same as JSON text, which is how a form or a URL contains one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("expected a list as JSON") from None
    if not isinstance(value, list):
        raise ValueError("expected a list")
    return value


@hug.type()
def areas(value):
    """areas of a picture: a list of objects with points, each two fractions of the picture, and for zones a name"""
    return _json_list(value)


@hug.type()
def periods(value):
    """hours of the week: a list of objects with days, from and to"""
    return _json_list(value)


@hug.type()
def message(value):
    """the JSON object that is the whole body: what another program sends in its own form"""
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object as the body")
    return value


#: Types of parameters whose values may be lists or objects.
LISTS = (ids, urls, batch, areas, periods, message)


def check_query(environ: Mapping[str, Any]) -> None:
    """Refuse a query that is not UTF-8, percent-encoded or not: a name in it would be stored as another one.

    Raises
    ------
    BadRequest
    """
    try:
        unquote_to_bytes(environ.get("QUERY_STRING", "").encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise BadRequest("the query of the URL: expected UTF-8, percent-encoded") from None


def as_choice(value, kind):
    """A whole number in JSON as text, where that text is one of the choices: `landmarks` may be 68 as well as "68"."""
    if isinstance(value, int) and kind is not None and str(value) in schema_of(kind).get("enum", ()):
        return str(value)
    return value


def check_json_type(name: str, value, kind) -> None:
    """Refuse JSON values of another type that hug would convert: a person called True, 1.5 candidates."""
    wanted = schema_of(kind)["type"] if kind is not None and value is not None else None
    if wanted == "array" and not isinstance(value, (str, list)):
        raise InvalidParameter(f"{name}: expected a list, got {brief(value)}")
    if wanted == "string" and not isinstance(value, str):
        raise InvalidParameter(f"{name}: expected text, got {brief(value)}")
    if wanted in ("integer", "number") and isinstance(value, bool):
        raise InvalidParameter(f"{name}: expected a number, got {brief(value)}")
    if wanted == "integer" and isinstance(value, float) and not value.is_integer():
        raise InvalidParameter(f"{name}: expected a whole number, got {brief(value)}")


def schema_of(kind) -> dict:
    """The JSON schema of one of the types that parameters are declared with."""
    if isinstance(kind, hug.types.InRange):
        return {"type": "integer", "minimum": kind.lower, "maximum": kind.upper - 1}
    if isinstance(kind, hug.types.OneOf):
        return {"type": "string", "enum": sorted(kind.values)}
    if kind in (ids, urls):
        return {"type": "array", "items": {"type": "string"}}
    if kind is batch:
        fields = {name: {"type": "string"} for name in ("url", *_BATCH_FIELDS)}
        one = {"type": "object", "properties": fields, "required": ["url"], "additionalProperties": False}
        return {"type": "array", "items": {"anyOf": [{"type": "string"}, one]}}
    if kind is areas:
        return {"type": "array", "items": openapi.CAMERA_AREA}
    if kind is periods:
        return {"type": "array", "items": openapi.CAMERA_PERIOD}
    if kind is message:
        return {"type": "object"}
    if kind is switch:
        return {"type": ["boolean", "integer"], "enum": [True, False, 1, 0]}
    known = [(number, "integer"), (fraction, "number"), (text, "string")]
    return {"type": next(name for each, name in known if kind is each)}
