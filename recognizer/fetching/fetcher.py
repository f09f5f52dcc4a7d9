"""HTTP requests to URLs that users supply, guarded so that they do not give access to the server's own network.

Every address of a host name is checked, and the connection is made to the very address that was checked, so a different
second answer of the name server has no effect. Each redirect is a new URL that is checked from the start. Proxies and
netrc files of the environment are not used. All ports are allowed. Time, received bytes and decompressed bytes are limited
while they are read. This is own code on the standard library: filters offered by HTTP libraries check only the first
address, and none of the libraries has a deadline for the whole exchange.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urljoin

from recognizer.core.errors import AddressRefused, FetchError, FetchFailed, FetchTimeout, FetchTooLarge, InvalidUrl
from recognizer.core.origins import Address
from recognizer.core.trust import trusting_context
from recognizer.fetching.addresses import Interruption, Resolver, effective_address, is_public, resolve
from recognizer.fetching.urls import WebUrl, parse_url

_HEADER_BYTES = 1_000_000  # allowance for header and framing bytes, in addition to the body
_CHUNK = 65_536
_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_RETRY_AFTER = 3600.0


@dataclass(frozen=True)
class Fetched:
    """The reply to a request.

    Attributes
    ----------
    content : bytes
        The body, decompressed.
    content_type : str
        The header ``Content-Type``, or an empty text. It may be wrong; the type of a photo is decided by its content.
    url : str
        The final URL, after redirects.
    """

    content: bytes
    content_type: str
    url: str


@dataclass(frozen=True)
class Accepted:
    """The reply to a POST request that succeeded.

    Attributes
    ----------
    status : int
        2xx.
    headers : Message
    """

    status: int
    headers: Message


#: Returns the value of ``Authorization``, given the challenges of a reply 401 and the path of the request.
Login = Callable[[list[str], str], "str | None"]


class Stream:
    """A reply whose body is read while it arrives; made by `Fetcher.stream`.

    Attributes
    ----------
    content_type : str
    encoding : str
        The content encoding, which is not undone; empty if there is none.
    length : int or None
        Size of the whole body in bytes, if the server sent it.
    """

    def __init__(self, connection: socket.socket, response: http.client.HTTPResponse):
        self._connection, self._response = connection, response
        self.content_type = response.headers.get("Content-Type", "")
        self.encoding = response.headers.get("Content-Encoding", "").strip().lower()
        self.length = response.length

    def read(self, size: int = _CHUNK) -> bytes:
        """Bytes that have arrived, at most `size`; waits for the first one. Empty at the end of the body.

        Raises
        ------
        FetchFailed
            The connection failed, or nothing arrived for too long.
        """
        try:
            return self._response.read1(size)
        except (OSError, http.client.HTTPException, ValueError, AttributeError):  # the last two: closed by another thread
            raise FetchFailed("the connection failed, or nothing arrived for too long") from None

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._connection.close()


@dataclass(frozen=True)
class FetchHooks:
    """What the caller of a `Fetcher` decides or does meanwhile.

    Attributes
    ----------
    permit : callable or None
        Decides whether an address may be connected to, instead of `Fetcher`'s `allow` and `is_public`.
    on_socket : callable
        Called with each socket before it is waited for, so that another thread can shut it down.
    interruption : callable
        Lets another thread end the wait for the resolver; see `addresses.resolve`.
    tls : SSLContext or None
        For https, instead of one that trusts the system's and certifi's authorities; this `Fetcher` alone must use it.
    """

    permit: Callable[[Address], bool] | None = None
    on_socket: Callable[[socket.socket], object] = lambda _: None
    interruption: Interruption = nullcontext
    tls: ssl.SSLContext | None = None


class Fetcher:
    """Fetches URLs, and posts to them, under one guard.

    Safe to use from several threads; each call makes its own connection.

    Parameters
    ----------
    allow : iterable of str
        Addresses or networks in CIDR form that may be accessed although they are not public.
    timeout : float
        Maximum duration of one call in seconds, including name resolution, connecting, redirects and reading.
    max_bytes : int
        Maximum size of a body, before and after decompression.
    max_redirects : int
    resolver : callable
        Called like `socket.getaddrinfo`, which is the default, once per URL.
    cafile : str, optional
        PEM file of certificate authorities that are trusted in addition to the system's and certifi's.
    hooks : FetchHooks, optional
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        timeout: float = 10.0,
        max_bytes: int = 25_000_000,
        max_redirects: int = 3,
        resolver: Resolver | None = None,
        cafile: str | None = None,
        hooks: FetchHooks | None = None,
    ):
        self.timeout, self.max_bytes, self.max_redirects = timeout, max_bytes, max_redirects
        self._allow = tuple(ipaddress.ip_network(network, strict=False) for network in allow)
        self._resolver, self._cafile, self._hooks = resolver, cafile, hooks or FetchHooks()
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = threading.Lock()

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of the reply from `url`; takes and raises the same as `fetch`."""
        return self.fetch(url, headers).content

    def fetch(self, url: str, headers: Mapping[str, str] | None = None) -> Fetched:
        """Fetch `url`, following redirects.

        Parameters
        ----------
        url : str
        headers : mapping, optional
            Additional headers. They are sent to the host of `url` only, not to others that a redirect leads to.

        Raises
        ------
        InvalidUrl
            Not an http or https URL, or malformed.
        AddressRefused
            The URL, or a redirect, leads to an address that is not allowed. Nothing was sent to it.
        FetchTooLarge
            The body is larger than `max_bytes`.
        FetchFailed
            No such host, no connection, an untrusted certificate, a status other than 2xx, or a malformed reply.
        FetchTimeout
            It took longer than `timeout`.
        """
        deadline = time.monotonic() + self.timeout
        first = parse_url(url)
        for _ in range(self.max_redirects + 1):
            target = parse_url(url)
            outcome = self._fetch_once(target, deadline, (headers or {}) if _same_host(target, first) else {})
            if isinstance(outcome, Fetched):
                return outcome
            url = outcome
        raise FetchFailed(f"expected at most {self.max_redirects} redirects, got more")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send `body` to `url` and return the status, which is 2xx.

        Takes and raises the same as `submit`.
        """
        return self.submit(url, body, headers).status

    def submit(self, url: str, body: bytes, headers: Mapping[str, str]) -> Accepted:
        """Send `body` to `url` and return the status, which is 2xx, and the headers of the reply.

        Redirects are not followed, and the reply's body is not read.

        Raises
        ------
        InvalidUrl, AddressRefused, FetchFailed, FetchTimeout
            As for `fetch`. For a status other than 2xx, the details of `FetchFailed` contain `status`, and its
            `retry_after` is set from the reply's ``Retry-After``.
        """
        target, deadline = parse_url(url), time.monotonic() + self.timeout
        with self._network_errors(target):
            connection = self._connect(target, deadline)
            try:
                response = self._request(connection, target, "identity", None, headers, body)
                try:
                    return Accepted(_accepted_status(response, target), response.headers)
                finally:
                    response.close()
            finally:
                connection.close()

    @staticmethod
    def check(url: str) -> None:
        """Check the syntax of `url`; names are not resolved.

        Raises
        ------
        InvalidUrl
        """
        parse_url(url)

    def stream(self, url: str, *, silence: float = 10.0, login: Login | None = None) -> Stream:
        """Open a URL with an endless reply, whose body is then read while it arrives. `timeout` applies to opening only.

        Parameters
        ----------
        silence : float
            Maximum time in seconds without a byte; after that, reading raises.
        login : callable, optional
            Called with the ``WWW-Authenticate`` headers of a reply 401 and the path of the request; returns the value of
            ``Authorization``, or None. It is called at most once, and only for the host of `url`.

        Raises
        ------
        InvalidUrl, AddressRefused, FetchFailed, FetchTimeout
        """
        deadline = time.monotonic() + self.timeout
        first = parse_url(url)
        authorization: str | None = None
        for _ in range(self.max_redirects + 2):
            target = parse_url(url)
            same_host = _same_host(target, first)
            with self._network_errors(target):
                outcome = self._open_once(target, deadline, silence, authorization if same_host else None)
            if isinstance(outcome, Stream):
                return outcome
            if isinstance(outcome, str):
                url = outcome
                continue
            status = 401
            refused = FetchFailed(f"{target.authority} answered with status {status}", status=status)
            if authorization is not None or not same_host or login is None:
                raise refused
            authorization = login(outcome, target.path)
            if authorization is None:
                raise refused
        raise FetchFailed(f"expected at most {self.max_redirects} redirects, got more")

    def _open_once(
        self, target: WebUrl, deadline: float, silence: float, authorization: str | None
    ) -> Stream | str | list[str]:
        """One request of `stream`: the reply, the URL of a redirect, or the challenges of a 401."""
        connection = self._connect(target, deadline)
        response: http.client.HTTPResponse | None = None
        handed_over = False
        try:
            response = self._request(connection, target, "identity", authorization)
            if response.status in _REDIRECTS:
                return _redirect(response, target)
            if response.status == 401:
                return response.headers.get_all("WWW-Authenticate") or []
            if not 200 <= response.status < 300:
                raise FetchFailed(f"{target.authority} answered with status {response.status}", status=response.status)
            connection.silence = silence
            stream = Stream(connection, response)
            handed_over = True
            return stream
        finally:
            if not handed_over:
                if response is not None:
                    response.close()
                connection.close()

    def _fetch_once(self, target: WebUrl, deadline: float, headers: Mapping[str, str]) -> Fetched | str:
        """One request of `fetch`: the reply, or the URL of a redirect."""
        with self._network_errors(target):
            connection = self._connect(target, deadline)
            try:
                response = self._request(connection, target, "gzip", None, headers)
                try:
                    return self._read_reply(response, target)
                finally:
                    response.close()
            finally:
                connection.close()

    @contextmanager
    def _network_errors(self, target: WebUrl) -> Iterator[None]:
        """Translate the errors of a connection into those that the public methods document."""
        try:
            yield
        except FetchError:
            raise
        except TimeoutError:
            raise _timeout(self.timeout) from None
        except ssl.SSLCertVerificationError as error:
            raise FetchFailed(f"the certificate of {target.host} is not trusted: {error.verify_message}") from None
        except ssl.SSLError:
            raise FetchFailed(f"no secure connection to {target.host} could be made") from None
        except (OSError, http.client.HTTPException, zlib.error):
            raise FetchFailed(f"{target.authority} closed the connection or did not answer with HTTP") from None

    # --- connecting ---

    def _connect(self, target: WebUrl, deadline: float) -> GuardedSocket | GuardedTlsSocket:
        """A connection to the first address of the target that accepts one."""
        addresses = self._allowed_addresses(target, deadline)
        failure: OSError | None = None
        for number, address in enumerate(addresses):
            connection: GuardedSocket | None = None
            try:
                connection = GuardedSocket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
                self._hooks.on_socket(connection)
                connection.guard(deadline, self.max_bytes + _HEADER_BYTES)
                connection.settimeout(connection.remaining() / (len(addresses) - number))
                connection.connect((str(address), target.port))
            except OSError as error:
                if connection is not None:
                    connection.close()
                failure = error
                continue
            return self._start_tls(connection, target) if target.scheme == "https" else connection
        if isinstance(failure, TimeoutError):
            raise failure
        raise FetchFailed(f"no connection to {target.authority} could be made")

    def _allowed_addresses(self, target: WebUrl, deadline: float) -> list[Address]:
        """Every address of the target; an error unless all of them are allowed."""
        addresses = [target.literal] if target.literal else self._resolve(target, deadline)
        if not all(self._is_allowed(address) for address in addresses):
            raise AddressRefused(f"{target.host} leads to an address that is not allowed", host=target.host)
        return addresses

    def _resolve(self, target: WebUrl, deadline: float) -> list[Address]:
        remaining = deadline - time.monotonic()
        try:
            return resolve(target.host, target.port, remaining, resolver=self._resolver, interruption=self._hooks.interruption)
        except FetchTimeout:
            raise _timeout(self.timeout) from None

    def _is_allowed(self, address: Address) -> bool:
        if self._hooks.permit is not None:
            return self._hooks.permit(address)
        effective = effective_address(address)
        return any(each in network for network in self._allow for each in (address, effective)) or is_public(effective)

    def _start_tls(self, connection: GuardedSocket, target: WebUrl) -> GuardedTlsSocket:
        """TLS on a connection, with the certificate checked against the URL's host name."""
        try:
            secured = self._tls_context().wrap_socket(
                connection, server_hostname=target.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except BaseException:
            connection.close()
            raise
        assert isinstance(secured, GuardedTlsSocket)  # the context's sslsocket_class
        try:
            self._hooks.on_socket(secured)
            secured.guard(connection.deadline, connection.byte_budget)
            secured.settimeout(secured.remaining())
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        return secured

    def _tls_context(self) -> ssl.SSLContext:
        with self._tls_lock:
            if self._tls is None:
                context = self._hooks.tls or trusting_context(*filter(None, (self._cafile,)))
                context.sslsocket_class = GuardedTlsSocket
                self._tls = context
            return self._tls

    # --- one exchange ---

    def _request(
        self,
        connection: GuardedSocket | GuardedTlsSocket,
        target: WebUrl,
        encoding: str,
        authorization: str | None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> http.client.HTTPResponse:
        """Send a GET request, or with a body a POST request; the reply with its headers read."""
        headers = {**({"Accept": "image/*,*/*;q=0.5"} if body is None else {}), **(headers or {})}
        length = None if body is None else str(len(body))
        request = http.client.HTTPConnection(target.host, target.port)
        request.sock, request.auto_open = connection, 0
        request.putrequest("GET" if body is None else "POST", target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in (
            ("Host", target.authority),
            ("User-Agent", "recognizer"),
            *headers.items(),
            ("Content-Length", length),
            ("Accept-Encoding", encoding),
            ("Connection", "close"),
            ("Authorization", authorization),
        ):
            if value is not None:
                request.putheader(name, value)
        connection.settimeout(connection.remaining())
        request.endheaders(body)
        return request.getresponse()

    def _read_reply(self, response: http.client.HTTPResponse, target: WebUrl) -> Fetched | str:
        if response.status in _REDIRECTS:
            return _redirect(response, target)
        if not 200 <= response.status < 300:
            raise FetchFailed(f"{target.authority} answered with status {response.status}", status=response.status)
        if response.length is not None and response.length > self.max_bytes:
            raise FetchTooLarge(
                f"expected at most {self.max_bytes} bytes, got {response.length}",
                bytes=response.length,
                max_bytes=self.max_bytes,
            )
        return Fetched(self._read_body(response, target), response.headers.get("Content-Type", ""), target.url)

    def _read_body(self, response: http.client.HTTPResponse, target: WebUrl) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise FetchFailed(f"{target.authority} used a content encoding that was not requested")
        decompressor = zlib.decompressobj(47) if "gzip" in encoding or encoding == "deflate" else None
        expected, received, body = response.length, 0, bytearray()
        while chunk := response.read(_CHUNK):
            received += len(chunk)
            body += decompressor.decompress(chunk, self.max_bytes + 1 - len(body)) if decompressor else chunk
            if received > self.max_bytes or len(body) > self.max_bytes:
                raise FetchTooLarge(f"expected at most {self.max_bytes} bytes, got more", max_bytes=self.max_bytes)
            if decompressor and decompressor.eof:
                break
        truncated = decompressor is not None and received and not decompressor.eof
        if truncated or (decompressor is None and expected is not None and received < expected):
            raise FetchFailed(f"{target.authority} closed the connection before the end of its reply")
        if not body:
            raise FetchFailed(f"{target.authority} sent an empty reply", status=response.status)
        return bytes(body)


def _same_host(url: WebUrl, other: WebUrl) -> bool:
    """Whether two URLs lead to the same server."""
    return (url.scheme, url.authority) == (other.scheme, other.authority)


def _accepted_status(response: http.client.HTTPResponse, target: WebUrl) -> int:
    """The status of a reply to a POST request; an error unless it is 2xx."""
    if 200 <= response.status < 300:
        return response.status
    error = FetchFailed(f"{target.authority} answered with status {response.status}", status=response.status)
    retry_after = response.headers.get("Retry-After", "")
    if retry_after.isascii() and retry_after.isdigit():
        error.retry_after = min(float(retry_after[:9]), _MAX_RETRY_AFTER)
    raise error


def _redirect(response: http.client.HTTPResponse, target: WebUrl) -> str:
    """The URL that a reply redirects to."""
    location = response.headers.get("Location")
    if not location:
        raise FetchFailed(f"{target.authority} sent a redirect without a location", status=response.status)
    try:  # http.client reads headers as Latin-1; servers write UTF-8
        location = location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        pass
    try:
        return urljoin(target.url, location.strip())
    except ValueError:
        raise InvalidUrl("the URL redirects to a malformed URL") from None


# --- sockets ---------------------------------------------------------------------------------------------------------


def _timeout(seconds: float) -> FetchTimeout:
    return FetchTimeout(f"expected a complete reply within {seconds:g} seconds, got none")


class _Guard:
    """Mixed into a socket class: every read counts against one deadline and one byte budget.

    Attributes
    ----------
    deadline : float
        On the clock of `time.monotonic`.
    byte_budget : int
        Bytes that may still be read.
    silence : float or None
        Once set, the maximum duration of each read in seconds, instead of the deadline and the budget.
    """

    deadline = 0.0
    byte_budget = 0
    silence: float | None = None

    def guard(self, deadline: float, byte_budget: int) -> None:
        self.deadline, self.byte_budget = deadline, byte_budget

    def remaining(self) -> float:
        """Seconds until the deadline.

        Raises
        ------
        TimeoutError
            The deadline has passed.
        """
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the deadline has passed")
        return remaining

    def read_timeout(self) -> float:
        """Seconds that the next read may take."""
        return self.remaining() if self.silence is None else self.silence

    def count(self, received: int) -> None:
        """Count received bytes against the budget.

        Raises
        ------
        FetchTooLarge
        """
        if self.silence is None:
            self.byte_budget -= received
            if self.byte_budget < 0:
                raise FetchTooLarge("expected a reply within the byte limit, got more")


class GuardedSocket(_Guard, socket.socket):
    """A TCP socket with a deadline and a byte budget."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.read_timeout())
        received = super().recv_into(*args, **kwargs)
        self.count(received)
        return received


class GuardedTlsSocket(_Guard, ssl.SSLSocket):
    """A TLS socket with a deadline and a byte budget."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.read_timeout())
        received = super().recv_into(*args, **kwargs)
        self.count(received or 0)
        return received or 0
