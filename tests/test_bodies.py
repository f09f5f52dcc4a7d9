"""What requests bring in their bodies: how it is read, and what is refused before it costs much."""

import base64
import io
import json
import urllib.parse

import pytest

from recognizer.core.brief import MESSAGE
from recognizer.core.errors import BadRequest, BodyTooLarge, InvalidParameter
from recognizer.http import bodies

LIMIT = 4_000_000
FORM, JSON, MULTIPART = "application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=b"
#: Every byte, so that base64 of it has each of its letters; it begins as a JPEG does.
PHOTO = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40
ENCODED = base64.b64encode(PHOTO).decode()


def read(data: bytes | str, kind: str, **options) -> bodies.Body:
    raw = data.encode() if isinstance(data, str) else data
    environ = {"wsgi.input": io.BytesIO(raw), "CONTENT_LENGTH": str(len(raw)), "CONTENT_TYPE": kind}
    return bodies.read(environ, LIMIT, **options)


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *headers]
    return b"--b\r\n" + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content + b"\r\n"


def multipart(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--b--\r\n"


# -- too much ---------------------------------------------------------------------------------------------------------

MUCH = 300_000


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (FORM, b"image_url=" + b"%" * MUCH),
        (FORM, b"subject=" + b"a" * MUCH),
        (FORM, b"&".join(b"a%d=%s" % (n, b"x" * 5000) for n in range(50))),
        (JSON, b'{"a": [' + b"1," * MUCH + b"1]}"),
        (JSON, b'{"a": [' + b"[]," * MUCH + b"1]}"),
        (JSON, b'{"a": [' + b'{"b":{}},' * MUCH + b"1]}"),
        (JSON, b'{"a": "' + b"a" * MUCH + b'"}'),
        (JSON, b'{"' + b"a" * MUCH + b'": 1}'),
        (JSON, json.dumps({f"a{n}": "x" * 5000 for n in range(50)}).encode()),
        (JSON, b"[" * MUCH),
        (MULTIPART, multipart(part('name="subject"', b"a" * MUCH))),
        (MULTIPART, multipart(*(part(f'name="a{n}"', b"x" * 5000) for n in range(50)))),
        (MULTIPART, multipart(*(part(f'name="a{n}"; filename="a"', b"") for n in range(200)))),
    ],
)
def test_bodies_without_photos_have_a_small_limit_of_their_own(kind, data):
    with pytest.raises(BodyTooLarge) as refused:
        read(data, kind)
    assert len(refused.value.message) < MESSAGE


@pytest.mark.parametrize("kind", [FORM, JSON, MULTIPART, "image/jpeg", ""])
def test_where_no_photo_is_taken_nothing_large_is_read(kind):
    with pytest.raises(BodyTooLarge) as refused:
        read(bytes(100_000), kind, takes_photos=False)
    assert refused.value.details == {"max_bytes": bodies.PLAIN_BYTES}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (FORM, "&".join(f"a{n}=1" for n in range(5000))),
        (FORM, "image_base64=" + "%" * MUCH),
        (FORM, "image_base64=" + "%4" * MUCH),
        (FORM, "image_base64=" + "%41" * 400_000),
        (JSON, '{"top_k": ' + "1" * MUCH + "}"),
        (JSON, '{"threshold": 1.' + "1" * MUCH + "}"),
        (JSON, '{"threshold": 1e' + "1" * MUCH + "}"),
        (JSON, '{"image_base64": {"a": ["' + "x" * 5000 + '"]}}'),
        (JSON, '{"image_base64": "' + "\U0001f600" * MUCH + '"}'),
        (MULTIPART, multipart(part('name="' + "a" * 3000 + '"', b"1"))),
    ],
)
def test_what_is_refused_is_not_repeated_at_length(kind, data):
    with pytest.raises(BadRequest) as refused:
        read(data, kind)
    assert len(refused.value.message) < MESSAGE


@pytest.mark.parametrize("at", [(1 << 20) + offset - len("image_base64=") for offset in range(-4, 3)])
def test_long_photos_in_a_form_are_decoded_wherever_their_escapes_lie(at):
    begin = "A" * at
    for text in (begin + "%2B%2F%41%41" + "A" * (-at % 4) + "A" * (1 << 20), begin + "%2B" + "A" * (3 - at % 4)):
        photo = read(f"image_base64={text}", FORM).photos["file"]
        assert photo == [bodies.decode_base64("image_base64", urllib.parse.unquote(text))]
    for end in ("%", "%4", "%4g" + begin):
        with pytest.raises(InvalidParameter, match="image_base64"):
            read(f"image_base64={begin}{end}", FORM)


# -- photos in base64 --------------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    return text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


def wrapped(text: str, mark: str, every: int = 76) -> str:
    return mark.join(text[at : at + every] for at in range(0, len(text), every))


@pytest.mark.parametrize(
    "text",
    [
        ENCODED,  # with '+' as a form does not have it: `curl -d "image_base64=$(base64 a.jpg)"`
        quoted(ENCODED),
        "".join(f"%{ord(letter):02x}" for letter in ENCODED),
        wrapped(ENCODED, "\n"),
        wrapped(ENCODED, "\r\n"),
        quoted(wrapped(ENCODED, "%0A")),
        ENCODED.rstrip("="),
        ENCODED.replace("+", "-").replace("/", "_"),
        "data:image/jpeg;base64," + ENCODED,
        "data%3Aimage%2Fjpeg%3Bbase64%2C" + quoted(ENCODED),
    ],
)
def test_a_photo_in_a_form(text):
    assert read(f"image_base64={text}&subject=A+B%20C", FORM) == bodies.Body({"subject": "A B C"}, {"file": [PHOTO]})


@pytest.mark.parametrize("size", range(120, 140))
def test_plus_signs_that_became_blanks_are_put_back(size):
    for photo in (PHOTO[:size], b"\xff\xd8\xff" + b"\xfb\xef\xbe" * size):
        encoded = base64.b64encode(photo).decode()
        for text in (encoded, encoded.replace("+", " "), wrapped(encoded, " ", 60), wrapped(encoded, "\n", 64)):
            assert bodies.decode_base64("image_base64", text) == photo
            assert read(json.dumps({"image_base64": text}), JSON).photos == {"file": [photo]}
            assert read(multipart(part('name="image_base64"', text.encode())), MULTIPART).photos == {"file": [photo]}


def test_line_breaks_and_escaped_slashes_in_json_cost_a_photo_nothing():
    """PHP escapes slashes; `base64.encodebytes` breaks lines."""
    text = wrapped(base64.b64encode(PHOTO * 100).decode(), "\n").replace("/", "\\/").replace("\n", "\\n")
    assert read(f'{{"image_base64": "{text}"}}', JSON).photos == {"file": [PHOTO * 100]}


# -- multipart from clients of every kind -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "disposition",
    [
        "name=\"file\"; filename*=utf-8''J%C3%BCrgen.jpg",
        'name="file"; filename="J.jpg"; filename*=UTF-8\'\'J%C3%BCrgen.jpg',
        "name=\"file\"; filename*=iso-8859-1'de'J%FCrgen.jpg",
        'name="file"; filename="J\xfcrgen.jpg"',
        'name="file"; filename="J\xc3\xbcrgen.jpg"',
        'name="file"; FILENAME=a.jpg',
        'name=file; filename=""',
        'filename="a.jpg"; name="file"',
        'name="file"',
    ],
)
def test_a_photo_is_found_whatever_its_file_is_called(disposition):
    body = read(multipart(part(disposition, PHOTO), part('name="subject"', "Jürgen".encode())), MULTIPART)
    assert body == bodies.Body({"subject": "Jürgen"}, {"file": [PHOTO]})


def test_a_photo_without_a_file_name_is_known_by_its_content():
    body = read(multipart(part('name="upload"', PHOTO, "Content-Type: image/jpeg")), MULTIPART)
    assert body.photos == {"upload": [PHOTO]}
    with pytest.raises(InvalidParameter, match="expected a file"):
        read(multipart(part('name="file"', b"text")), MULTIPART)


def test_a_file_that_nobody_chose_is_as_if_it_were_not_there():
    data = multipart(
        part('name="file"; filename=""', b"", "Content-Type: application/octet-stream"), part('name="top_k"', b"1")
    )
    assert read(data, MULTIPART) == bodies.Body({"top_k": "1"}, {})


def test_text_in_another_encoding():
    data = multipart(part('name="subject"', "Jürgen".encode("latin-1")))
    assert read(data, MULTIPART + "; charset=iso-8859-1").fields == {"subject": "Jürgen"}
    with pytest.raises(InvalidParameter, match="subject: expected text in utf-8"):
        read(data, MULTIPART)


@pytest.mark.parametrize("charset", ["iso-8859-1", "ISO-8859-15", "utf-16", "UTF-8", "windows-1252", "cp850", "utf-32-le"])
def test_a_part_says_its_own_encoding(charset):
    data = multipart(part('name="subject"', "Jürgen".encode(charset), f"Content-Type: text/plain; charset={charset}"))
    for kind in (MULTIPART, MULTIPART + "; charset=cp437"):
        assert read(data, kind).fields == {"subject": "Jürgen"}


@pytest.mark.parametrize("charset", ["hex", "rot13", "punycode", "idna", "nonsense", "a\0b", "x" * 1000, "unicode_escape"])
def test_what_is_no_encoding_of_text(charset):
    import encodings

    kind, known = f"text/plain; charset={charset}", len(encodings._cache)
    data = multipart(part('name="subject"', "Jürgen".encode(), f"Content-Type: {kind}"))
    if "\0" not in charset:
        assert read(data, MULTIPART).fields == {"subject": "Jürgen"}  # clients write what they like: it is UTF-8
    with pytest.raises(BadRequest):
        read(data, f"{MULTIPART}; charset={charset}")
    with pytest.raises(BadRequest):
        read(b"{}", f"{JSON}; charset={charset}")
    assert len(encodings._cache) - known <= 1 or charset in ("hex", "rot13")  # unknown names are not remembered


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-8", "utf-16", "utf-16-le", "cp1252"])
def test_json_in_another_encoding(charset):
    data = json.dumps({"subject": "Jürgen", "image_base64": ENCODED}, ensure_ascii=False).encode(charset)
    assert read(data, f"{JSON}; charset={charset}") == bodies.Body({"subject": "Jürgen"}, {"file": [PHOTO]})


def test_json_that_is_no_text_says_so():
    with pytest.raises(BadRequest, match="the body is not JSON: it is not UTF-8"):
        read('{"subject": "Jürgen"}'.encode("latin-1"), JSON)


def test_parts_as_programs_for_e_mail_send_them():
    photo = part('name="file"; filename="a.jpg"', base64.encodebytes(PHOTO), "Content-Transfer-Encoding: BASE64")
    text = part(
        'name="subject"',
        b"J=FCrgen",
        "Content-Type: text/plain; charset=latin-1",
        "Content-Transfer-Encoding: quoted-printable",
    )
    plain = part('name="other"; filename="b.jpg"', PHOTO, "Content-Transfer-Encoding: binary")
    assert read(multipart(photo, text, plain), MULTIPART) == bodies.Body(
        {"subject": "Jürgen"}, {"file": [PHOTO], "other": [PHOTO]}
    )
    with pytest.raises(InvalidParameter, match="the multipart body: expected base64"):
        read(multipart(part('name="file"; filename="a.jpg"', b"!!", "Content-Transfer-Encoding: base64")), MULTIPART)


# -- forms and JSON ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"hello world", b"hello", b"x" * 200, b"<html>a=b</html>", b"\x00=1", b"a b=c", b"\n", b"{a=1}"]
)
def test_data_that_curl_calls_a_form_is_no_form(data):
    assert read(data, FORM) == bodies.Body({}, {"file": [data]})


@pytest.mark.parametrize("data", ['{"subject": "A"}', ' \n{ "subject": "A=B&C"}'])
def test_json_that_curl_calls_a_form(data):
    with pytest.raises(BadRequest, match="Content-Type: application/json"):
        read(data, FORM)


def test_a_form_is_decoded_as_browsers_encode_it():
    data = "subject=J%C3%BCrgen+%26+Co&empty=&percent=5%+%zz&&a%20b=1&last"
    assert read(data, FORM).fields == {
        "subject": "Jürgen & Co",
        "empty": "",
        "percent": "5% %zz",
        "a b": "1",
        "last": "",
    }


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (FORM, "a=1&a=2"),
        (JSON, '{"a": 1, "a": 2}'),
        (JSON, '{"b": {"a": 1, "a": 1}}'),
        (JSON, '{"b": [{"a": 1, "\\u0061": 2}]}'),
        (MULTIPART, multipart(part('name="a"', b"1"), part('name="a"', b"2"))),
    ],
)
def test_a_field_that_occurs_twice_is_refused_in_every_form(kind, data):
    with pytest.raises(InvalidParameter, match="^a: expected one value"):
        read(data, kind)


def test_a_photo_that_occurs_twice_is_two_photos():
    data = multipart(part('name="file"; filename="a"', PHOTO), part('name="image"; filename="b"', PHOTO))
    assert read(data, MULTIPART).photos == {"file": [PHOTO, PHOTO]}
    assert read(json.dumps({"image_base64": [ENCODED, ENCODED]}), JSON).photos == {"file": [PHOTO, PHOTO]}
    with pytest.raises(InvalidParameter, match="image_base64"):
        read(f'{{"image_base64": "{ENCODED}", "image_base64": "{ENCODED}"}}', JSON)


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'name="file"; filename="J\xc3\xbcrgen am Meer.jpg"', "Jürgen am Meer.jpg"),
        (b'name="file"; filename="a.jpg"', "a.jpg"),
        (b'name="file"; filename=""', None),
        (b'name="file"', None),
    ],
)
def test_the_name_of_a_photos_file_is_known(disposition, name):
    data = b"--x\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + PHOTO + b"\r\n--x--\r\n"
    assert read(data, "multipart/form-data; boundary=x").file_names == {"file": [name]}
