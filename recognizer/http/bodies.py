"""Request bodies -> fields and photos: multipart, JSON, forms, or the photo itself. Knows WSGI, no web framework.

Photos may be large; everything else in a body may have `PLAIN_BYTES` together. Sizes and counts are checked before the work
that grows with them.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import contextlib
import encodings
import functools
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from recognizer.core.brief import brief, cut
from recognizer.core.errors import BadRequest, BodyTooLarge, InvalidParameter
from recognizer.photos.images import sniff

#: Names under which a multipart body or a JSON object carries photos, and the field they fill.
PHOTO_FIELDS = {"file": "file", "files": "file", "image": "file", "photo": "file", "other": "other"}
BASE64_FIELDS = {"image_base64": "file", "other_base64": "other"}
#: Largest body without its photos, in bytes.
PLAIN_BYTES = 64 * 1024
#: The same for a route that takes a batch of URLs.
BATCH_BYTES = 8 * 1024 * 1024
#: Set in the environ by a server that did not read a body because it is too large: the limit.
TOO_LARGE = "recognizer.body_too_large"
_MAX_FIELDS = 100
_MAX_NAME = 100
_MAX_DEPTH = 20
#: Values, objects and lists of a JSON body that is larger than `PLAIN_BYTES`.
_MAX_NODES = 10_000
#: The same for a batch of URLs.
_BATCH_NODES = 50_000
_MAX_DIGITS = 100
_FORM_BEGIN = re.compile(rb"[A-Za-z0-9_.%%+*~$-][A-Za-z0-9_.%%+*~$:/\[\]-]{0,%d}=" % _MAX_NAME)
_JSON_BEGIN = re.compile(rb'[ \t\r\n]{0,100}\{[ \t\r\n]{0,100}"')
_HEX = re.compile(rb"%([0-9A-Fa-f]{2})?")
_FILENAME = re.compile(r";\s*filename\*?\s*=", re.IGNORECASE)
#: Larger bodies are parsed one at a time: meanwhile hardly any other thread of the process runs.
_LARGE = 1_000_000
_one_at_a_time = threading.Lock()
_ASCII_BLANKS = b" \t\r\n\f\v"


@dataclass
class Body:
    """The contents of a body: plain fields as given (text, or JSON's own types), and photos as bytes by field.

    `file_names` has the name of the file for each photo, None where the sender gave none.
    """

    fields: dict[str, object] = field(default_factory=dict)
    photos: dict[str, list[bytes]] = field(default_factory=dict)
    file_names: dict[str, list[str | None]] = field(default_factory=dict, compare=False)

    def add_photo(self, name: str, data: bytes, file_name: str | None = None) -> None:
        self.photos.setdefault(name, []).append(data)
        self.file_names.setdefault(name, []).append(file_name)


def read(environ: Mapping, limit: int, takes_photos: bool = True, plain_bytes: int = PLAIN_BYTES) -> Body:
    """Read the body of a WSGI request.

    The beginning of the body takes precedence over its header: a photo sent with curl's ``--data-binary`` claims to be a
    form.

    Parameters
    ----------
    environ : mapping
    limit : int
        Largest body, in bytes.
    takes_photos : bool
        Whether the route takes photos. If not, the body may have `PLAIN_BYTES` at most.
    plain_bytes : int
        Largest body without its photos.

    Raises
    ------
    BodyTooLarge
    BadRequest
        The body does not match its header.
    InvalidParameter
        A field occurs twice or has an invalid value.
    """
    data = read_all(environ, limit if takes_photos else min(limit, PLAIN_BYTES), takes_photos)
    if not data:
        return Body()
    with turn(data):
        return _parsed(environ.get("CONTENT_TYPE", ""), data, plain_bytes)


def turn(data: bytes) -> contextlib.AbstractContextManager:
    """Within the block, no other large body is parsed if this one is large."""
    return _one_at_a_time if len(data) > _LARGE else contextlib.nullcontext()


def _parsed(content_type: str, data: bytes, most: int) -> Body:
    kind = content_type.split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _multipart(content_type, data, most)
    if sniff(data) is None:
        if kind == "application/json" or kind.endswith("+json"):
            return _json(json_in_utf8(content_type, data), most)
        if kind == "application/x-www-form-urlencoded":
            if _JSON_BEGIN.match(data):
                raise BadRequest("the body looks like JSON; send it with Content-Type: application/json")
            if _is_form(data):
                return _form(data, most)
    body = Body()
    body.add_photo("file", data)
    return body


def read_all(environ: Mapping, limit: int, takes_photos: bool) -> bytes:
    """The bytes of a body, with or without Content-Length.

    Raises
    ------
    BodyTooLarge, BadRequest
    """
    stream: BinaryIO = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    unread = environ.get(TOO_LARGE)
    if unread is not None:
        raise _too_large(min(limit, unread), takes_photos)
    if length:
        if not length.isdecimal() or len(length) > 20:
            raise BadRequest("Content-Length: expected a number")
        if int(length) > limit:
            raise _too_large(limit, takes_photos)
        data = _read_exactly(stream, int(length))
        if len(data) < int(length):
            raise BadRequest(f"the body ended after {len(data)} of {length} bytes")
        return data
    if "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return b""
    data = _read_exactly(stream, limit + 1)
    if len(data) > limit:
        raise _too_large(limit, takes_photos)
    return data


def _too_large(limit: int, takes_photos: bool) -> BodyTooLarge:
    where = "a body" if takes_photos else "a body without photos, which this route does not take,"
    return BodyTooLarge(f"expected {where} of at most {limit} bytes, got more", max_bytes=limit)


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    parts, missing = [], size
    while missing:
        part = stream.read(min(missing, 1 << 20))
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class _Plain:
    """Counts the bytes of a body that belong to no photo."""

    def __init__(self, most: int) -> None:
        self.bytes, self._most = 0, most

    def add(self, size: int) -> None:
        """Count some more.

        Raises
        ------
        BodyTooLarge
        """
        self.bytes += size
        if self.bytes > self._most:
            message = f"expected at most {self._most} bytes besides photos, got more"
            raise BodyTooLarge(message, max_bytes=self._most)


def _add_field(body: Body, name: str, value: object) -> None:
    if len(name) > _MAX_NAME:
        raise InvalidParameter(f"{cut(name)}: no such parameter: its name has {len(name)} characters")
    if name in BASE64_FIELDS:
        if value is None or value == "":  # as if it were not there, like every other field
            return
        body.add_photo(BASE64_FIELDS[name], decode_base64(name, value))
    elif name in body.fields:
        raise InvalidParameter(f"{name}: expected one value, got several")
    else:
        body.fields[name] = value


# -- multipart ----------------------------------------------------------------------------------------------------------


def _multipart(content_type: str, data: bytes, most: int) -> Body:
    body, plain = Body(), _Plain(most)
    for name, is_file, content, file_name in read_multipart(content_type, data):
        _add_part(body, plain, name, is_file, content, file_name)
    return body


def _charset(content_type: str) -> str | None:
    """The encoding of text that a header names; None if it names none.

    Raises
    ------
    LookupError
        The name stands for no encoding of text.
    """
    from multipart import parse_options_header

    named = parse_options_header(content_type)[1].get("charset")
    if named is None:
        return None
    name = encodings.normalize_encoding(named).lower()
    if name not in _charsets():  # Python would remember every name that it does not know
        raise LookupError(f"unknown encoding: {cut(named)}")
    "".encode(name)  # an error for what encodes no text, such as hex
    return codecs.lookup(name).name


@functools.cache
def _charsets() -> frozenset[str]:
    """The names of encodings, as `normalize_encoding` writes them."""
    from encodings.aliases import aliases

    return frozenset({*aliases, *aliases.values()})


def json_in_utf8(content_type: str, data: bytes) -> bytes:
    """JSON of a body whose header names another encoding, in UTF-8. UTF-16 and UTF-32 stay: `json` knows them.

    Raises
    ------
    BadRequest
    """
    try:
        charset = _charset(content_type)
        if charset is None or charset.startswith("utf"):
            return data
        return data.decode(charset).encode()
    except (ValueError, LookupError) as error:
        raise BadRequest(f"the body is not JSON: {cut(str(error))}") from None


def read_multipart(content_type: str, data: bytes) -> Iterator[tuple[str, bool, bytes, str | None]]:
    """Name, whether it is a file, content and the file's name of each part of a multipart body.

    Raises
    ------
    BodyTooLarge, BadRequest
    """
    from multipart import MultipartError, ParserLimitReached, parse_options_header

    try:
        charset = _charset(content_type) or "utf-8"
        yield from _parts(data, parse_options_header(content_type)[1].get("boundary", ""), charset)
    except ParserLimitReached as error:
        raise BodyTooLarge(f"the multipart body has too many or too large parts: {cut(str(error))}") from None
    except (MultipartError, ValueError, LookupError) as error:
        raise BadRequest(f"the multipart body cannot be read: {cut(str(error))}") from None


def _parts(data: bytes, boundary: str, charset: str) -> Iterator[tuple[str, bool, bytes, str | None]]:
    """Name, whether it is a file, content and the file's name of each part. All in memory: the size of `data` is bounded.

    Part headers are read as Latin-1, which every byte is: the name of a file may be in any encoding. Text is in UTF-8
    afterwards; `charset` is the encoding of text whose part names none.
    """
    from multipart import MultipartSegment, PushMultipartParser

    parser = PushMultipartParser(
        boundary,
        content_length=len(data),
        max_segment_count=_MAX_FIELDS,
        header_charset="latin-1",
        strict=True,
    )
    segment, content = None, b""
    with parser:
        for event in parser.parse(data):
            if isinstance(event, MultipartSegment):
                segment, content = event, b""
            elif event is not None:
                content = content + event if content else event
            elif segment is not None:
                disposition = segment.header("Content-Disposition") or ""
                kind = (segment.header("Content-Type") or "text/plain").split(";")[0].strip().lower()
                content = _transferred(segment.header("Content-Transfer-Encoding"), content)
                name, is_file = _in_utf8(segment.name), bool(_FILENAME.search(disposition))
                if is_file and not content and segment.filename == "":
                    continue  # a form of a web page in which no file was chosen
                if not is_file and (name in PHOTO_FIELDS or not kind.startswith("text/")):
                    is_file = sniff(content) is not None
                if not is_file:
                    content = _text_in_utf8(name, segment.header("Content-Type") or "", charset, content)
                yield name, is_file, content, _in_utf8(segment.filename) if segment.filename else None


def _transferred(encoding: str | None, content: bytes) -> bytes:
    """The content of a part without the encoding that programs for e-mail send it in.

    Raises
    ------
    BadRequest
    """
    how = (encoding or "").strip().lower()
    if how == "base64":
        return decode_base64("the multipart body", content)
    return binascii.a2b_qp(content) if how == "quoted-printable" else content


def _text_in_utf8(name: str, content_type: str, charset: str, content: bytes) -> bytes:
    """Text of a part in UTF-8.

    Raises
    ------
    InvalidParameter
        It is not in the encoding that its header names.
    """
    with contextlib.suppress(LookupError):  # an unknown encoding may be UTF-8, or is an error later
        charset = _charset(content_type) or charset
    if len(content) > BATCH_BYTES or charset == "utf-8":
        return content
    try:
        return content.decode(charset).encode()
    except UnicodeError:
        raise InvalidParameter(f"{cut(name)}: expected text in {charset}") from None


def _in_utf8(text: str) -> str:
    """Text that was read as Latin-1, in UTF-8 if it is that."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _add_part(body: Body, plain: _Plain, name: str, is_file: bool, content: bytes, file_name: str | None) -> None:
    plain.add(len(name))
    if is_file:
        body.add_photo(PHOTO_FIELDS.get(name, cut(name)), content, file_name)
    elif name in BASE64_FIELDS:
        _add_field(body, name, content)
    elif name in PHOTO_FIELDS:
        raise InvalidParameter(f"{name}: expected a file (with curl: -F {name}=@photo.jpg), got text")
    else:
        plain.add(len(content))
        try:
            text = content.decode()
        except UnicodeError:
            raise InvalidParameter(f"{cut(name)}: expected text in utf-8") from None
        _add_field(body, name, text)


# -- forms --------------------------------------------------------------------------------------------------------------


def _is_form(data: bytes) -> bool:
    """Whether a body is form fields: curl calls every kind of data so. Forms begin with a name, without blanks, and '='."""
    return _FORM_BEGIN.match(data) is not None


def _form(data: bytes, most: int) -> Body:
    if data.count(b"&") >= _MAX_FIELDS:
        raise BadRequest(f"the form cannot be read: expected at most {_MAX_FIELDS} fields")
    body, plain = Body(), _Plain(most)
    for pair in data.split(b"&"):
        if not pair:
            continue
        name, _, value = pair.partition(b"=")
        plain.add(len(name))
        known = name.decode("ascii", "replace")
        if known in BASE64_FIELDS:
            _add_field(body, known, _unquoted(known, value))
            continue
        plain.add(len(value))
        try:
            _add_field(body, _unquoted("", name).decode(), _unquoted("", value).decode())
        except UnicodeDecodeError:
            raise BadRequest("the form cannot be read: expected UTF-8, percent-encoded") from None
    return body


def _unquoted(name: str, data: bytes) -> bytes:
    """Form data without its encoding: '+' is a blank, %XX a byte. What is no such sequence stays as it is.

    Raises
    ------
    InvalidParameter
        `name` is a field of base64 and there is a bad sequence in it.
    """
    data = data.replace(b"+", b" ")
    if b"%" not in data:
        return data
    if name:
        return _unquoted_base64(name, data)
    return _HEX.sub(lambda found: bytes((int(found[1], 16),)) if found[1] else b"%", data)


def _unquoted_base64(name: str, data: bytes) -> bytes:
    """The same for a photo, by array: a call per sequence would take seconds for the largest body."""
    import numpy as np

    if len(data) > _LARGE and 6 * data.count(b"%") > len(data):
        raise InvalidParameter(f"{name}: expected base64, of which only '+', '/', '=' and line breaks need percent-encoding")
    parts, begin, step = [], 0, 1 << 20
    while begin < len(data):
        end = begin + step
        end += 2 if data[end - 1 : end] == b"%" else 1 if data[end - 2 : end - 1] == b"%" else 0  # no sequence is cut
        part = np.frombuffer(data, np.uint8, min(end, len(data)) - begin, begin)
        at = np.flatnonzero(part == ord("%"))
        if at.size:
            digits = _HEX_VALUES[part[np.minimum(at[:, None] + (1, 2), part.size - 1)]]
            if at[-1] + 2 >= part.size or (digits < 0).any():
                raise InvalidParameter(f"{name}: expected base64, percent-encoded, got '%' without two hexadecimal digits")
            part, keep = part.copy(), np.ones(part.size, bool)
            part[at] = digits[:, 0] * 16 + digits[:, 1]
            keep[at + 1] = keep[at + 2] = False
            part = part[keep]
        parts.append(part.tobytes())
        begin = end
    return b"".join(parts)


def _hex_values():
    import numpy as np

    values = np.full(256, -1, np.int16)
    for digit in "0123456789abcdefABCDEF":
        values[ord(digit)] = int(digit, 16)
    return values


# -- JSON ---------------------------------------------------------------------------------------------------------------


def json_value(data: bytes, nodes: int = _MAX_NODES) -> object:
    """Any JSON of bounded size and depth; an object with a name twice is refused.

    Raises
    ------
    BodyTooLarge, BadRequest, InvalidParameter
    """
    # Each value but the first has one of these before it, so this is at least how many there are.
    if len(data) > PLAIN_BYTES and sum(map(data.count, (b",", b"[", b"{"))) > nodes:
        raise BodyTooLarge(f"expected JSON with at most {nodes} values, got more", max_values=nodes)
    try:
        content = json.loads(
            data,
            parse_constant=_no_constant,
            parse_int=_whole_number,
            parse_float=_real_number,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else cut(str(error))
        reason = "it is not UTF-8" if isinstance(error, UnicodeError) else reason
        raise BadRequest(f"the body is not JSON: {reason}") from None
    if _depth(content) > _MAX_DEPTH:
        raise BadRequest(f"expected JSON nested at most {_MAX_DEPTH} deep")
    return content


def _json(data: bytes, most: int) -> Body:
    content = json_value(data, _BATCH_NODES if most > PLAIN_BYTES else _MAX_NODES)
    if not isinstance(content, dict):
        raise BadRequest(f"expected a JSON object, got {type(content).__name__}")
    body, plain = Body(), _Plain(most)
    for name, value in content.items():
        plain.add(len(name) + (0 if name in BASE64_FIELDS else _size(value)))
        if name in BASE64_FIELDS and isinstance(value, list):
            for each in value:
                body.add_photo(BASE64_FIELDS[name], decode_base64(name, each))
        else:
            _add_field(body, name, value)
    return body


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = counted.most_common(1)[0][0]
        raise InvalidParameter(f"{cut(twice)}: expected one value, got several")
    return found


def _no_constant(name: str):
    raise ValueError(f"{name} is not JSON")


def _whole_number(digits: str) -> int:
    return int(_short(digits))


def _real_number(digits: str) -> float:
    return float(_short(digits))


def _short(digits: str) -> str:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"expected numbers of at most {_MAX_DIGITS} digits")
    return digits


def _depth(value: object, level: int = 1) -> int:
    if level > _MAX_DEPTH:
        return level
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((_depth(each, level + 1) for each in inner), default=level)


def _size(value: object) -> int:
    """About how long a value is as JSON without escapes."""
    if isinstance(value, dict):
        return sum(len(name) + _size(each) + 2 for name, each in value.items())
    if isinstance(value, list):
        return sum(_size(each) + 1 for each in value)
    return len(value) if isinstance(value, str) else 4


# -- base64 -------------------------------------------------------------------------------------------------------------


def decode_base64(name: str, text: object) -> bytes:
    """The bytes behind base64 text, standard or URL-safe, with or without ``data:...;base64,`` and padding.

    Line breaks are ignored. Blanks are too if they separate pieces of equal length; else they are taken for the '+' that
    they were before somebody decoded the text as a form.

    Parameters
    ----------
    name : str
        The field's name, for messages.
    text : str or bytes
        ASCII.

    Raises
    ------
    InvalidParameter
    """
    if isinstance(text, str):
        try:
            data = text.encode("ascii")
        except UnicodeEncodeError:
            raise InvalidParameter(f"{name}: expected base64, got something else") from None
    elif isinstance(text, bytes):
        data = text
    else:
        raise InvalidParameter(f"{name}: expected text in base64, got {brief(text)}")
    if data[:5].lower() == b"data:":
        comma = data.find(b",", 0, 1000)
        if comma < 0 or not data[:comma].lower().endswith(b";base64"):
            raise InvalidParameter(f"{name}: expected a data URL in base64")
        data = data[comma + 1 :]
    data = _with_plus(data.lstrip(_ASCII_BLANKS).rstrip(b"\r\n")).translate(_STANDARD, _ASCII_BLANKS).rstrip(b"=")
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameter(f"{name}: expected base64, got something else") from None


_STANDARD = bytes.maketrans(b"-_", b"+/")
_HEX_VALUES = _hex_values()


def _with_plus(data: bytes) -> bytes:
    """Base64 whose blanks were '+'; as it is if its blanks only separate pieces."""
    blanks = data.count(b" ")
    if not blanks:
        return data
    letters = len(data.translate(None, _ASCII_BLANKS))
    if blanks % 4 and (letters % 4 == 0) != ((letters + blanks) % 4 == 0):
        return data if letters % 4 == 0 else data.replace(b" ", b"+")
    piece = data.find(b" ") + 1
    ends = data[piece - 1 :: piece]
    return data if ends.count(b" ") == len(ends) == blanks else data.replace(b" ", b"+")
