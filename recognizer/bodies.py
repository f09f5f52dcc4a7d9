"""Request bodies -> fields and photos: multipart, JSON, forms, or the photo itself. Knows WSGI, no web framework."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import parse_qsl

from .errors import BadRequest, BodyTooLarge, InvalidParameter
from .images import sniff

#: Names under which a multipart body or a JSON object carries photos, and the field they fill.
PHOTO_FIELDS = {"file": "file", "files": "file", "image": "file", "photo": "file", "other": "other"}
_BASE64_FIELDS = {"image_base64": "file", "other_base64": "other"}
_MAX_FIELDS = 100
_MAX_DEPTH = 20


@dataclass
class Body:
    """What a body held: plain fields as given (text, or JSON's own types), and photos as bytes by field."""

    fields: dict[str, object] = field(default_factory=dict)
    photos: dict[str, list[bytes]] = field(default_factory=dict)

    def add_photo(self, name: str, data: bytes) -> None:
        self.photos.setdefault(name, []).append(data)


def read(environ: Mapping, limit: int) -> Body:
    """Read the body of a WSGI request, `limit` bytes at most.

    What the body starts with decides before its header does: a photo sent with curl's ``--data-binary`` claims to be a
    form.

    Raises
    ------
    BodyTooLarge
    BadRequest
        The body is not what its header says.
    InvalidParameter
        A field is there twice, or is not what it should be.
    """
    data = _read_all(environ, limit)
    if not data:
        return Body()
    kind = environ.get("CONTENT_TYPE", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _multipart(environ, data)
    if sniff(data) is None:
        if kind == "application/json" or kind.endswith("+json"):
            return _json(data)
        if kind == "application/x-www-form-urlencoded":
            return _form(data)
    body = Body()
    body.add_photo("file", data)
    return body


def _read_all(environ: Mapping, limit: int) -> bytes:
    stream: BinaryIO = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if length:
        if not length.isdigit():
            raise BadRequest("Content-Length: expected a number")
        if int(length) > limit:
            raise BodyTooLarge(f"expected a body of at most {limit} bytes, got {length}", max_bytes=limit)
        data = _read_exactly(stream, int(length))
        if len(data) < int(length):
            raise BadRequest(f"the body ended after {len(data)} of {length} bytes")
        return data
    if "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return b""
    data = _read_exactly(stream, limit + 1)
    if len(data) > limit:
        raise BodyTooLarge(f"expected a body of at most {limit} bytes, got more", max_bytes=limit)
    return data


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    parts, missing = [], size
    while missing:
        part = stream.read(min(missing, 1 << 20))
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _multipart(environ: Mapping, data: bytes) -> Body:
    from multipart import MultipartError, ParserLimitReached, parse_form_data

    body = Body()
    plain = {"CONTENT_TYPE": environ["CONTENT_TYPE"], "CONTENT_LENGTH": str(len(data)), "wsgi.input": io.BytesIO(data)}
    try:
        # all in memory: the size is bounded already, and a face does not belong into a temporary file
        fields, files = parse_form_data(
            plain, strict=True, part_limit=_MAX_FIELDS, spool_limit=len(data), memory_limit=len(data) + 1
        )
    except ParserLimitReached as error:
        raise BodyTooLarge(f"the multipart body has too many or too large parts: {error}") from None
    except (MultipartError, UnicodeDecodeError, LookupError) as error:
        raise BadRequest(f"the multipart body cannot be read: {error}") from None
    for name, part in files.iterallitems():
        body.add_photo(PHOTO_FIELDS.get(name, name), part.raw)
        part.close()
    for name, text in fields.iterallitems():
        if name in PHOTO_FIELDS:
            raise InvalidParameter(f"{name}: expected a file (with curl: -F {name}=@photo.jpg), got text")
        _add_field(body, name, text)
    return body


def _form(data: bytes) -> Body:
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise BadRequest("the form cannot be read: expected UTF-8, percent-encoded, with few fields") from None
    body = Body()
    for name, text in pairs:
        _add_field(body, name, text)
    return body


def _add_field(body: Body, name: str, value: object) -> None:
    if name in _BASE64_FIELDS:
        if value is None or value == "":  # as if it were not there, like every other field
            return
        body.add_photo(_BASE64_FIELDS[name], decode_base64(name, value))
    elif name in body.fields:
        raise InvalidParameter(f"{name}: expected one value, got several")
    else:
        body.fields[name] = value


def _json(data: bytes) -> Body:
    try:
        content = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadRequest(f"the body is not JSON: {reason}") from None
    if not isinstance(content, dict):
        raise BadRequest(f"expected a JSON object, got {type(content).__name__}")
    if _depth(content) > _MAX_DEPTH:
        raise BadRequest(f"expected JSON nested at most {_MAX_DEPTH} deep")
    body = Body()
    for name, value in content.items():
        if name in _BASE64_FIELDS and isinstance(value, list):
            for each in value:
                body.add_photo(_BASE64_FIELDS[name], decode_base64(name, each))
        else:
            _add_field(body, name, value)
    return body


def _no_constant(name: str):
    raise ValueError(f"{name} is not JSON")


def _depth(value: object, level: int = 1) -> int:
    if level > _MAX_DEPTH:
        return level
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((_depth(each, level + 1) for each in inner), default=level)


def decode_base64(name: str, text: object) -> bytes:
    """The bytes behind base64 text, standard or URL-safe, with or without ``data:...;base64,`` and padding.

    Raises
    ------
    InvalidParameter
    """
    if not isinstance(text, str):
        raise InvalidParameter(f"{name}: expected text in base64, got {type(text).__name__}")
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise InvalidParameter(f"{name}: expected a data URL in base64")
    compact = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameter(f"{name}: expected base64, got something else") from None
