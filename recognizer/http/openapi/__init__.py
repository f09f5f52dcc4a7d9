"""The API as an OpenAPI 3.1 document, made from the routes and from the descriptions in `operations` and `schemas`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from recognizer.core import errors
from recognizer.core.errors import (
    BadRequest,
    CsrfRefused,
    DamageRepaired,
    HostRefused,
    InvalidKey,
    InvalidParameter,
    KeyExpired,
    KeyRequired,
    LoopbackOnly,
    OriginRefused,
    RateLimited,
    RecognizerError,
    RoleRequired,
    Starting,
    StorageError,
    UnknownRoute,
)
from recognizer.http.openapi.operations import EXAMPLE_PHOTO, JSON, OPERATIONS, PARAMETERS, PHOTO_FIELDS, PHOTO_URLS, Operation
from recognizer.http.openapi.schemas import CAMERA_AREA as CAMERA_AREA
from recognizer.http.openapi.schemas import CAMERA_PERIOD as CAMERA_PERIOD
from recognizer.http.openapi.schemas import SCHEMAS, ref

#: Errors that every operation may return.
COMMON = (
    BadRequest,
    InvalidParameter,
    Starting,
    KeyRequired,
    InvalidKey,
    KeyExpired,
    LoopbackOnly,
    HostRefused,
    OriginRefused,
    RateLimited,
    StorageError,
    DamageRepaired,
)
#: The lowest role that a route can require: every key has it.
LEAST = "read"
#: Methods whose parameters may also be in the body.
WITH_BODY = ("POST", "PUT", "PATCH")

_PHRASES = {
    200: "The result.",
    201: "Something was added.",
    202: "The work has begun.",
    400: "The request is invalid.",
    401: "A key is required, or the key is invalid.",
    403: "The role, the origin, the host or the address does not permit this request.",
    404: "Not found.",
    409: "It conflicts with existing data.",
    413: "Too large.",
    415: "Not an image in a supported format.",
    422: "The photo cannot be used for this purpose.",
    429: "Too many requests.",
    500: "Internal server error.",
    502: "The URL's server failed.",
    503: "Temporarily unavailable; try again shortly.",
    504: "The URL's server took too long.",
    507: "The data could not be stored completely.",
}
#: The ways to send a key, by name.
_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "recognizer_session",
        "description": "Set by POST /session, for pages of this server; under HTTPS its name begins with __Host-. Requests "
        "other than GET also need the header X-CSRF-Token.",
    },
}
_DESCRIPTION = (
    "Find and recognise faces on your own machine. Parameters may be in the URL, in a form, in a multipart body or in a JSON "
    "object, each once; an unknown parameter is an error. A photo is sent as image_url, as a multipart file, as the body "
    "itself, or in JSON as image_base64. Every GET route also answers HEAD. A request may also be refused before it is read: "
    "405 (method), 408 (too slow), 413 (body too large), 431 (headers too large)."
)


@dataclass(frozen=True)
class Parameter:
    """A parameter as its route declares it; `schema` has its type and range."""

    name: str
    schema: dict
    required: bool = False
    default: object = None


@dataclass(frozen=True)
class Route:
    """One method of one path; `name` is the function's, `summary` its docstring, `role` what its caller needs."""

    method: str
    path: str
    name: str
    summary: str
    parameters: list[Parameter] = field(default_factory=list)
    role: str | None = LEAST

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"


def document(
    routes: Iterable[Route],
    status_of: Callable[[RecognizerError], int],
    version: str,
    *,
    locked: bool = False,
    prefix: str = "",
) -> dict:
    """The document.

    Parameters
    ----------
    routes : iterable of Route
    status_of : callable
        The HTTP status of an error.
    version : str
    locked : bool
        Whether the server asks for keys.
    prefix : str
        The path below which a proxy has put the API.

    Raises
    ------
    KeyError
        A route is not in `OPERATIONS`, or a parameter not in `PARAMETERS`.
    """
    paths: dict[str, dict] = {}
    routes = list(routes)
    names = Counter(route.name for route in routes)
    for route in routes:
        shown = _operation(route, OPERATIONS[route.key], status_of)
        # generated clients call the operation so; of a function that serves both, POST has the name alone
        shown["operationId"] = f"{route.name}_url" if names[route.name] > 1 and route.method == "GET" else route.name
        if locked and route.role is not None:
            shown["security"] = [{name: []} for name in _SCHEMES]
        paths.setdefault(route.path, {})[route.method.lower()] = shown
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Recognizer",
            "version": version,
            "description": _DESCRIPTION,
            "license": {
                "name": "MIT",
                "identifier": "MIT",
            },
        },
        "servers": [{"url": prefix or "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(OPERATIONS[route.key].tag for route in routes)],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": _SCHEMES},
    }


def _operation(route: Route, operation: Operation, status_of) -> dict:
    shown = {
        "operationId": route.name,
        "summary": route.summary.split(". ")[0].rstrip("."),
        "description": route.summary,
        "tags": [operation.tag],
        "parameters": [_parameter(route, each) for each in route.parameters if _stands_in_url(route, operation, each)],
        "responses": _responses(route, operation, status_of),
    }
    if route.method in WITH_BODY:
        shown["requestBody"] = _body(route, operation)
    return shown


def _stands_in_url(route: Route, operation: Operation, parameter: Parameter) -> bool:
    """Where the body may be a photo itself, its parameters have no other place."""
    if _in_path(route, parameter) or route.method not in WITH_BODY:
        return True
    return bool(operation.photos) and not parameter.required and parameter.name not in PHOTO_URLS


def _in_path(route: Route, parameter: Parameter) -> bool:
    return f"{{{parameter.name}}}" in route.path


def _meaning(route: Route, parameter: Parameter) -> tuple[str, object]:
    return PARAMETERS.get(f"{route.key} {parameter.name}") or PARAMETERS[parameter.name]


def _schema(parameter: Parameter) -> dict:
    """The schema of a parameter, in words that programs which generate clients understand: one type each.

    The routes also take 1 and 0 for a switch, and text for a choice of numbers.
    """
    schema = parameter.schema
    if schema["type"] == ["boolean", "integer"]:
        schema = {"type": "boolean"}
    elif all(isinstance(choice, str) and choice.isdecimal() for choice in schema.get("enum", [""])):
        schema = {**schema, "type": "integer", "enum": sorted(int(choice) for choice in schema["enum"])}
    return schema


def _default(parameter: Parameter) -> Any:
    """The value of a parameter that is not given; None if there is none."""
    default = parameter.default
    return int(default) if isinstance(default, str) and _schema(parameter)["type"] == "integer" else default


def _parameter(route: Route, parameter: Parameter) -> dict:
    description, example = _meaning(route, parameter)
    in_path = _in_path(route, parameter)
    schema = _schema(parameter)
    if in_path and schema["type"] == "string":
        schema = {**schema, "minLength": 1}
    if route.method in WITH_BODY:
        description = _with_default(parameter, description)
    elif parameter.default is not None:
        schema = {**schema, "default": _default(parameter)}
    required = in_path or parameter.required or parameter.name in OPERATIONS[route.key].needed
    return {
        "name": parameter.name,
        "in": "path" if in_path else "query",
        "required": required,
        "description": description,
        "schema": schema,
        "example": example,
        **({} if required else {"allowEmptyValue": True}),  # which is as if it were not there
    }


def _with_default(parameter: Parameter, description: str) -> str:
    """The description with the default, for operations with a body: from a `default`, generated clients would send the value
    in the URL and in the body, and nothing may be in both."""
    default = _default(parameter)
    return description if default is None else f"{description} Default: {json.dumps(default)}."


def _body(route: Route, operation: Operation) -> dict:
    fields = {each.name: each for each in route.parameters if not _in_path(route, each)}
    whole = next((each for each in fields.values() if each.schema["type"] == "object"), None)
    if whole is not None:
        description, example = _meaning(route, whole)
        return {
            "required": True,
            "content": {JSON: {"schema": {"type": "object", "description": description}, "example": example}},
        }
    plain = {
        name: {**_schema(each), "description": _with_default(each, _meaning(route, each)[0])} for name, each in fields.items()
    }
    for name, each in fields.items():
        if each.required and each.schema.get("type") == "string":
            plain[name]["minLength"] = 1
    required = [name for name, each in fields.items() if each.required]
    example = {name: _meaning(route, each)[1] for name, each in fields.items() if each.required}
    encoded = {name: schema if fields[name].required else _or_null(schema) for name, schema in plain.items()}
    uploaded, raw = dict(plain), {}
    for name in operation.photos:
        in_json, sentence = PHOTO_FIELDS[name]
        one = {"type": "string", "contentEncoding": "base64"}
        encoded[in_json] = {
            **({"oneOf": [_or_null(one), {"type": "array", "items": one}]} if operation.several else _or_null(one)),
            "description": f"{sentence.split(';')[0].rstrip('.')}, in base64, with or without data:image/jpeg;base64, before.",
        }
        part = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
        uploaded[name] = {
            **({"type": "array", "items": part} if operation.several else part),
            "description": sentence,
        }
        example |= {in_json: EXAMPLE_PHOTO}
        if not required:
            raw = {kind: {"schema": ref("Photo")} for kind in ("image/jpeg", "application/octet-stream")}

    def content(properties: dict) -> dict:
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    media = {JSON: {"schema": content(encoded), "example": example}}
    if operation.photos:
        media["multipart/form-data"] = {"schema": content(uploaded)}
    media["application/x-www-form-urlencoded"] = {"schema": content(plain)}
    return {"required": not (operation.photos or operation.bodiless), "content": media | raw}


def _or_null(schema: dict) -> dict:
    """The same for JSON, where null means that it is not given."""
    return {**schema, "type": [schema["type"], "null"], **({"enum": [*schema["enum"], None]} if "enum" in schema else {})}


def _responses(route: Route, operation: Operation, status_of) -> dict:
    responses = {}
    for status, media in operation.replies.items():
        responses[str(status)] = {
            "description": _PHRASES[status],
            "content": {kind: _reply(name) for kind, name in media.items()},
            "headers": _HEADERS,
        }
    refusals: list[type[RecognizerError]] = [*COMMON, *with_subclasses(operation.errors)]
    if "{" in route.path:
        refusals.append(UnknownRoute)
    if route.method != "GET":
        refusals.append(CsrfRefused)
    if route.role not in (None, LEAST):
        refusals.append(RoleRequired)
    codes: dict[int, set[str]] = {500: {"internal"}}
    for status, named in operation.codes.items():
        codes.setdefault(status, set()).update(named)
    for kind in refusals:
        codes.setdefault(status_of(kind("")), set()).add(kind.code)
    for status in sorted(codes):
        responses[str(status)] = _refusal(status, sorted(codes[status]))
    return responses


_HEADERS = {
    "X-Request-Id": {
        "description": "The request's id in the server's log: the value of the request's header of that name, or a new one.",
        "schema": {"type": "string"},
        "example": "0f3a9c1e77d2",
    },
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}, "example": 1}}

_ASKED = {
    "WWW-Authenticate": {
        "description": "How to send a key.",
        "schema": {"type": "string"},
        "example": 'Bearer realm="recognizer"',
    }
}


def _reply(name: str) -> dict:
    examples = SCHEMAS[name].get("examples")
    return {"schema": ref(name), **({"example": examples[0]} if examples else {})}


def _refusal(status: int, codes: list[str]) -> dict:
    schema = {
        "allOf": [ref("Error")],
        "properties": {"error": {"properties": {"code": {"enum": codes}}}},
    }
    return {
        "description": _PHRASES[status],
        "content": {JSON: {"schema": schema, "example": {"error": {"code": codes[0], "message": _PHRASES[status]}}}},
        "headers": _HEADERS | (_RETRY if status in (429, 503) else {}) | (_ASKED if status == 401 else {}),
    }


def with_subclasses(kinds: Iterable[type[RecognizerError]]) -> list[type[RecognizerError]]:
    """These classes and all below them that this package defines, each once."""
    found: dict[type[RecognizerError], None] = {}
    for kind in kinds:
        if kind.__module__ == errors.__name__:
            found[kind] = None
            found.update(dict.fromkeys(with_subclasses(kind.__subclasses__())))
    return list(found)


__all__ = ["Parameter", "Route", "document", "with_subclasses"]
