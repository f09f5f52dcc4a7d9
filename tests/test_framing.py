"""Heads and chunked bodies: what is read, and what is refused because somebody else could read it in another way."""

import io

import pytest
from cheroot.errors import MaxSizeExceeded

from recognizer.http.framing import BodyInChunks, BodyOfLength, HeadReader, read_request_line


def head(text: bytes) -> dict[bytes, bytes]:
    return HeadReader()(io.BytesIO(text + b"\r\n"))


def test_headers_are_found_whatever_the_case_of_their_names():
    assert head(b"hOsT: a\r\nx-api-KEY:\tb c \r\nEmpty:\r\n") == {b"Host": b"a", b"X-Api-Key": b"b c", b"Empty": b""}
    assert head(b"") == {}


def test_what_comes_several_times_is_one_list():
    """Each of two proxies may have added a line of its own."""
    text = b"X-Forwarded-For: 1.1.1.1\r\nAccept: a\r\nX-Forwarded-For: 2.2.2.2\r\nCookie: a=b\r\nCookie: c=d\r\n"
    assert head(text) == {b"X-Forwarded-For": b"1.1.1.1, 2.2.2.2", b"Accept": b"a", b"Cookie": b"a=b; c=d"}


def test_names_with_underscores_are_left_out():
    """No proxy takes out, or overwrites, what WSGI would take for X-Forwarded-For."""
    text = b"X_Forwarded_For: 127.0.0.1\r\nX-Forwarded-For: 9.9.9.9\r\nX_Api_Key: k\r\n"
    assert head(text) == {b"X-Forwarded-For": b"9.9.9.9"}


@pytest.mark.parametrize(
    "name", [b"Host", b"Content-Length", b"Content-Type", b"Transfer-Encoding", b"Authorization", b"X-Api-Key"]
)
def test_some_may_come_only_once(name):
    with pytest.raises(ValueError, match=name.decode()):
        head(name + b": 5\r\n" + name.lower() + b": 5\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding : chunked\r\n",
        b" Folded: a\r\n",
        b"A: b\r\n folded\r\n",
        b"A: b\rX: c\r\n",
        b"A: b\0c\r\n",
        b"A\0: b\r\n",
        b"A: b\x7f\r\n",
        b": b\r\n",
        b"no colon\r\n",
        b"A: b\n",
        b"\xc3\xa4: b\r\n",
        b"\r\r\n",
        b"A b: c\r\n",
    ],
)
def test_lines_that_are_no_headers_are_refused(line):
    with pytest.raises(ValueError):
        head(line)
    with pytest.raises(ValueError):
        HeadReader()(io.BytesIO(line))


def chunked(text: bytes, limit: int = 100, pieces: int = 1 << 20) -> tuple[bytes, bytes]:
    """The body, and what was left for the next request, of bytes that come in pieces of so many."""
    reader, received = BodyInChunks(limit), bytearray()
    text += b"next"
    for at in range(0, len(text), pieces):
        received += text[at : at + pieces]
        reader.feed(received)
    if not reader.done:
        raise ValueError(reader.missing())
    return reader.take(), bytes(received)


@pytest.mark.parametrize(
    "text, body",
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nabcde\r\n0\r\n\r\n", b"abcde"),
        (b"005 \r\nabcde\r\n1;name=value\r\nf\r\n0\r\nA-Trailer: x\r\n\r\n", b"abcdef"),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789"),
        (b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n", b"x" * 100),
    ],
)
def test_chunks_are_put_together_and_nothing_behind_them_is_read(text, body):
    for pieces in (1, 2, 3, 5, 1 << 20):
        assert chunked(text, pieces=pieces) == (body, b"next")


@pytest.mark.parametrize(
    "size", [b"-5", b"+5", b"0x5", b"0_5", b"5 5", b"", b" 5", b"g", b"5;\0", b"5\r", "٥".encode(), b"5\n"]
)
def test_sizes_are_hexadecimal_digits_only(size):
    with pytest.raises(ValueError):
        chunked(size + b"\r\nabcde\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"5\r\nabc",
        b"5\r\nabcdefg\r\n0\r\n\r\n",
        b"5\nabcde\r\n0\r\n\r\n",
        b"5\r\nabcde\n0\r\n\r\n",
        b"0\r\n",
        b"0\r\nA: b\n",
    ],
)
def test_broken_chunks_are_refused(text):
    with pytest.raises(ValueError):
        chunked(text)


@pytest.mark.parametrize(
    "text",
    [
        b"65\r\n" + b"x" * 101,
        b"F" * 18 + b"\r\n",
        b"F" * 9000,
        b"1\r\nx\r\n" * 101,
        b"1\r\nx\r\n" * 30_000,
        b"0\r\n" + b"A: b\r\n" * 20_000,
        b"1;" + b"e" * 9000,
    ],
)
def test_too_much_is_refused_before_it_is_read(text):
    with pytest.raises(MaxSizeExceeded):
        chunked(text)


def test_many_tiny_chunks_are_refused_however_much_may_come():
    """Each costs time, and no client that means well sends a photo so."""
    with pytest.raises(MaxSizeExceeded):
        chunked(b"1\r\nx\r\n" * 40_000 + b"0\r\n\r\n", limit=1_000_000)
    assert len(chunked((b"c8\r\n" + b"x" * 200 + b"\r\n") * 4000 + b"0\r\n\r\n", limit=1_000_000)[0]) == 800_000


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_a_body_of_a_length(pieces):
    reader, received, text = BodyOfLength(10), bytearray(), b"0123456789next"
    for at in range(0, len(text), pieces):
        received += text[at : at + pieces]
        reader.feed(received)
    assert (reader.done, reader.take(), bytes(received)) == (True, b"0123456789", b"next")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a%20b/c%2Fd?x=%20", b"/a b/c%2Fd", b"x=%20"),
        (b"//health", b"/health", b""),
        (b"///people//x?a=//b", b"/people//x", b"a=//b"),
        ("/people/Jürgen?search=Jürgen".encode(), "/people/Jürgen".encode(), b"search=J%C3%BCrgen"),
        ("/people?search=Jürgen".encode("latin-1"), b"/people", b"search=J%FCrgen"),
    ],
)
def test_request_targets(target, path, query):
    line = read_request_line(b"GET " + target + b" HTTP/1.1\r\n")
    assert (line.method, line.path, line.query, line.version) == (b"GET", path, query, (1, 1))
    assert line.target.isascii()


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1\r\n",
        b"GET /  HTTP/1.1\r\n",
        b" GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET\t/ HTTP/1.1\r\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/01.1\r\n",
        b"GET / HTTP/1.+1\r\n",
        b"GET / HTTP/1.1_0\r\n",
        b"GET / HTTP/1.10\r\n",
        b"GET / http/1.1\r\n",
        b"GET /\r\n",
        b"get / HTTP/1.1\r\n",
        b"G\xc4T / HTTP/1.1\r\n",
        b"GET /a\0b HTTP/1.1\r\n",
        b"GET /a\x0bb HTTP/1.1\r\n",
        b"GET /a#b HTTP/1.1\r\n",
        b"GET a HTTP/1.1\r\n",
        b"GET * HTTP/1.1\r\n",
        b"GET http://example.org/ HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r",
        b"",
    ],
)
def test_other_request_lines_are_refused(line):
    with pytest.raises(ValueError):
        read_request_line(line)
