"""A request of another service's client: query and body, read as leniently as that service reads them.

Unknown parameters are ignored, names and types of files are not looked at, and queries may have the odd forms that clients
send. Sizes and counts are bounded as for every other request.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote_plus

from recognizer.core.brief import brief, cut
from recognizer.core.errors import BadRequest, BodyTooLarge, InvalidParameter, NoImage
from recognizer.http import bodies
from recognizer.photos.images import sniff

_MAX_FIELDS = 100
#: What separates pairs of a query: clients also begin with "&", and write a second "?" where "&" is meant.
_SEPARATOR = re.compile(r"&|\?(?=[A-Za-z_]+=)")
_TRUE, _FALSE = {"true", "1", "yes", "on", ""}, {"false", "0", "no", "off"}


@dataclass(frozen=True)
class LooseBody:
    """What a body holds.

    Attributes
    ----------
    fields : dict
        Text by name; of a name that occurs twice, the first. Of a JSON object, its values.
    files : tuple of (str, bytes)
        Name of the field and content of each file, in order. A body that is a photo is a file without a name.
    content : object
        What a JSON body is; None for other bodies.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[tuple[str, bytes], ...] = ()
    content: object = None


class DialectRequest:
    """One request as a dialect reads it. Bodies are read when they are first asked for.

    Parameters
    ----------
    environ : mapping
        As WSGI has it.
    max_body : int
        Largest body, in bytes.
    max_photos : int
    takes_photos : bool
        Whether the route takes photos; if not, the body is small.
    """

    def __init__(self, environ: dict[str, Any], max_body: int, max_photos: int, takes_photos: bool):
        self.environ = environ
        self._max_body, self._max_photos, self._takes_photos = max_body, max_photos, takes_photos

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters; of a name that occurs twice, the first. A name without a value is true.

        Raises
        ------
        BadRequest
        """
        found: dict[str, str] = {}
        pairs = [each for each in _SEPARATOR.split(self.environ.get("QUERY_STRING", "")) if each]
        if len(pairs) > _MAX_FIELDS:
            raise BadRequest(f"expected at most {_MAX_FIELDS} parameters in the query")
        for pair in pairs:
            name, equals, value = pair.partition("=")
            found.setdefault(_text(name), _text(value) if equals else "true")
        return found

    @cached_property
    def raw(self) -> bytes:
        """The bytes of the body.

        Raises
        ------
        BodyTooLarge, BadRequest
        """
        limit = self._max_body if self._takes_photos else min(self._max_body, bodies.PLAIN_BYTES)
        return bodies.read_all(self.environ, limit, self._takes_photos)

    @cached_property
    def body(self) -> LooseBody:
        """The body.

        Raises
        ------
        BodyTooLarge, BadRequest, InvalidParameter
        """
        data = self.raw
        if not data:
            return LooseBody()
        with bodies.turn(data):
            read = _read(self.environ.get("CONTENT_TYPE", ""), data)
        if len(read.files) > self._max_photos:
            raise InvalidParameter(f"expected at most {self._max_photos} photos, got {len(read.files)}")
        return read

    def value(self, name: str) -> Any:
        """A parameter from the query, or else from the body; None where it is missing or empty."""
        found = self.query.get(name)
        if found is None or found == "":
            found = self.body.fields.get(name)
        return None if found == "" else found

    def text(self, name: str) -> str | None:
        """A parameter that is text.

        Raises
        ------
        InvalidParameter
        """
        found = self.value(name)
        if found is not None and not isinstance(found, str):
            raise InvalidParameter(f"{name}: expected text, got {brief(found)}")
        return found

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A parameter that is a number, as text or in JSON.

        Raises
        ------
        InvalidParameter
        """
        found = self.value(name)
        if found is None:
            return default
        number = None
        if isinstance(found, (str, int, float)) and not isinstance(found, bool) and len(str(found)) <= _MAX_FIELDS:
            with contextlib.suppress(ValueError):
                number = float(found)
        if number is None or not least <= number <= most:  # written so that NaN is refused
            raise InvalidParameter(f"{name}: expected a number from {least:g} to {most:g}, got {brief(found)}")
        return number

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        """A parameter that is a whole number; see `number`."""
        found = self.number(name, default, least, most)
        if found != int(found):
            raise InvalidParameter(f"{name}: expected a whole number, got {found:g}")
        return int(found)

    def switch(self, name: str, default: bool = False) -> bool:
        """A parameter that is true or false; what is neither counts as not given."""
        found = str(self.value(name) if name not in self.query else self.query[name]).strip().lower()
        return True if found in _TRUE else False if found in _FALSE else default

    def photo(self, name: str, any_name: bool = True) -> bytes:
        """A photo: the file of that name, or base64 in the field of that name.

        Parameters
        ----------
        name : str
        any_name : bool
            Whether it may be the only file, whatever its name is.

        Raises
        ------
        NoImage, InvalidParameter
        """
        files = self.body.files
        named = [data for each, data in files if each == name]
        if named:
            return named[0]
        if any_name and len(files) == 1:
            return files[0][1]
        given = self.body.fields.get(name)
        if given:
            return bodies.decode_base64(name, given)
        raise NoImage(f"expected a photo in {name}")


def _text(part: str) -> str:
    # WSGI's text is Latin-1 of the bytes that were sent; clients send UTF-8, encoded or not
    with contextlib.suppress(UnicodeError):
        part = part.encode("latin-1").decode()
    return unquote_plus(part)


def _read(content_type: str, data: bytes) -> LooseBody:
    kind = content_type.split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _multipart(content_type, data)
    if sniff(data) is None:
        if kind == "application/json" or kind.endswith("+json") or kind.startswith("application/x-amz-json"):
            content = bodies.json_value(bodies.json_in_utf8(content_type, data))
            return LooseBody(content if isinstance(content, dict) else {}, content=content)
        if kind == "application/x-www-form-urlencoded":
            return _form(data)
    return LooseBody(files=(("", data),))


def _multipart(content_type: str, data: bytes) -> LooseBody:
    fields: dict[str, str] = {}
    files: list[tuple[str, bytes]] = []
    plain = 0
    for name, is_file, content, _ in bodies.read_multipart(content_type, data):
        if is_file or sniff(content) is not None:
            files.append((name, content))
            continue
        plain += len(name) + len(content)
        if plain > bodies.PLAIN_BYTES:
            raise BodyTooLarge(f"expected at most {bodies.PLAIN_BYTES} bytes besides photos, got more")
        try:
            fields.setdefault(name, content.decode())
        except UnicodeDecodeError:
            raise InvalidParameter(f"{cut(name)}: expected text in UTF-8") from None
    return LooseBody(fields, tuple(files))


def _form(data: bytes) -> LooseBody:
    if data.count(b"&") >= _MAX_FIELDS:
        raise BadRequest(f"expected at most {_MAX_FIELDS} fields")
    fields: dict[str, str] = {}
    try:
        for pair in filter(None, data.decode().split("&")):
            name, _, value = pair.partition("=")
            fields.setdefault(unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict"))
    except UnicodeDecodeError:
        raise BadRequest("the form cannot be read: expected UTF-8, percent-encoded") from None
    return LooseBody(fields)
