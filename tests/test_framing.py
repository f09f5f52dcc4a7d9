"""Heads and chunked bodies: what is read, and what is refused because somebody else could read it in another way."""

import io

import pytest
from cheroot.errors import MaxSizeExceeded

from recognizer.framing import HeadReader, read_chunked


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
        b"Transfer-Encoding : chunked\r\n", b" Folded: a\r\n", b"A: b\r\n folded\r\n", b"A: b\rX: c\r\n", b"A: b\0c\r\n",
        b"A\0: b\r\n", b"A: b\x7f\r\n", b": b\r\n", b"no colon\r\n", b"A: b\n", b"\xc3\xa4: b\r\n", b"\r\r\n", b"A b: c\r\n",
    ],
)  # fmt: skip
def test_lines_that_are_no_headers_are_refused(line):
    with pytest.raises(ValueError):
        head(line)
    with pytest.raises(ValueError):
        HeadReader()(io.BytesIO(line))


def chunked(text: bytes, limit: int = 100) -> tuple[bytes, bytes]:
    """The body, and what was left for the next request."""
    source = io.BytesIO(text + b"next")
    return read_chunked(source, limit), source.read()


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
    assert chunked(text) == (body, b"next")


@pytest.mark.parametrize(
    "size", [b"-5", b"+5", b"0x5", b"0_5", b"5 5", b"", b" 5", b"g", b"5;\0", b"5\r", "٥".encode(), b"5\n"]
)
def test_sizes_are_hexadecimal_digits_only(size):
    with pytest.raises(ValueError):
        chunked(size + b"\r\nabcde\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "text",
    [
        b"", b"5\r\nabc", b"5\r\nabcdefg\r\n0\r\n\r\n", b"5\nabcde\r\n0\r\n\r\n", b"5\r\nabcde\n0\r\n\r\n", b"0\r\n",
        b"0\r\nA: b\n",
    ],
)  # fmt: skip
def test_broken_chunks_are_refused(text):
    with pytest.raises(ValueError):
        read_chunked(io.BytesIO(text), 100)


@pytest.mark.parametrize(
    "text",
    [
        b"65\r\n" + b"x" * 101, b"F" * 18 + b"\r\n", b"F" * 9000, b"1\r\nx\r\n" * 101, b"0\r\n" + b"A: b\r\n" * 20_000,
        b"1;" + b"e" * 9000,
    ],
)  # fmt: skip
def test_too_much_is_refused_before_it_is_read(text):
    with pytest.raises(MaxSizeExceeded):
        chunked(text)
