"""URL -> bytes, guarded: `image_url` must not become a way into the network that the server stands in.

Every address that a host name leads to is checked, and the connection goes to the very address that was checked, so
a second answer of the name server changes nothing. Each redirect is a new URL, checked from the start. Nothing of the
environment (proxies, netrc) is used. All ports are allowed. Time, bytes received and bytes after decompression are
capped while they are read. Own code on the standard library: what the libraries offer as a filter checks the first
address only, and none has a deadline for the whole exchange.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from .errors import AddressRefused, FetchError, FetchFailed, FetchTimeout, FetchTooLarge, InvalidUrl

_MOST_URL = 8192
_HEADER_BYTES = 1_000_000  # what heads and framing may take beside the body
_PIECE = 65_536
_REDIRECTS = {301, 302, 303, 307, 308}
_LONGEST_RETRY_AFTER = 3600.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's special-purpose registries, written out so that every Python version refuses the same
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    )
)  # fmt: skip
_IPV6_IN_USE = ipaddress.ip_network("2000::/3")  # all global unicast that is assigned; the rest is special or unused
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is reached


@dataclass(frozen=True)
class Fetched:
    """What a URL led to.

    Attributes
    ----------
    content : bytes
        The body, decompressed.
    content_type : str
        As the server says it, or empty; the content decides what it is.
    url : str
        The last URL, after redirects.
    """

    content: bytes
    content_type: str
    url: str


@dataclass(frozen=True)
class _Target:
    """A checked URL: ``host`` in ASCII without brackets or a last dot, ``path`` with its query, percent-encoded."""

    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


#: Makes the value of ``Authorization`` from the challenges of a 401 and the path that was asked for.
Login = Callable[[list[str], str], "str | None"]


class Stream:
    """A reply that is read as it comes; made by `Fetcher.stream`.

    Attributes
    ----------
    content_type : str
    length : int or None
        Bytes of the whole body, where the server says it.
    """

    def __init__(self, connection: socket.socket, response: http.client.HTTPResponse):
        self._connection, self._response = connection, response
        self.content_type = response.headers.get("Content-Type", "")
        self.length = response.length

    def read(self, most: int = _PIECE) -> bytes:
        """What has come, at most so many bytes; waits for the first one. Empty at the end.

        Raises
        ------
        FetchFailed
            The connection broke, or was silent for too long.
        """
        try:
            return self._response.read1(most)
        except (OSError, http.client.HTTPException, ValueError, AttributeError):  # the last two: closed meanwhile
            raise FetchFailed("the connection broke off, or nothing came on it for too long") from None

    def close(self) -> None:
        self._response.close()
        self._connection.close()


class Fetcher:
    """Fetches photos by URL, and posts to URLs under the same guard.

    Safe to call from several threads at once; each call has a connection of its own.

    Parameters
    ----------
    allow : iterable of str
        Addresses or networks in CIDR form that may be reached though they are private; empty allows none.
    timeout : float
        Seconds that one call may take in all: names, connections, redirects and reading.
    max_bytes : int
        Largest body, before and after decompression.
    max_redirects : int
    resolver : callable
        Like `socket.getaddrinfo`; asked once per URL.
    cafile : str, optional
        PEM file of certificate authorities trusted besides the system's and certifi's.
    permit : callable, optional
        Says of an address whether it may be connected to, instead of `allow` and "is it public".
    on_socket : callable, optional
        Told each socket before anything is waited for on it, so that another thread can break it off.
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        timeout: float = 10.0,
        max_bytes: int = 25_000_000,
        max_redirects: int = 3,
        resolver: Callable = socket.getaddrinfo,
        cafile: str | None = None,
        permit: Callable[[Address], bool] | None = None,
        on_socket: Callable[[socket.socket], None] | None = None,
    ):
        self.timeout, self.max_bytes, self.max_redirects = timeout, max_bytes, max_redirects
        self._allow = tuple(ipaddress.ip_network(network, strict=False) for network in allow)
        self._resolver, self._cafile = resolver, cafile
        self._permit, self._on_socket = permit, on_socket or (lambda _: None)
        self._tls: ssl.SSLContext | None = None
        self._tls_lock = threading.Lock()

    def get(self, url: str) -> bytes:
        """The bytes that `url` leads to; raises what `fetch` raises."""
        return self.fetch(url).content

    def fetch(self, url: str) -> Fetched:
        """Fetch `url`, which may lead through redirects.

        Raises
        ------
        InvalidUrl
            Not an http or https URL that can be asked for.
        AddressRefused
            It, or a redirect, leads to an address that is not allowed. Nothing was sent there.
        FetchTooLarge
            The body is larger than `max_bytes`.
        FetchFailed
            No such host, no connection, no trusted certificate, a status other than 2xx, or a broken reply.
        FetchTimeout
            It took longer than `timeout`.
        """
        deadline = time.monotonic() + self.timeout
        for _ in range(self.max_redirects + 1):
            target = _parse(url)
            outcome = self._ask(target, deadline)
            if isinstance(outcome, Fetched):
                return outcome
            url = outcome
        raise FetchFailed(f"expected at most {self.max_redirects} redirects, got more")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send `body` to `url`; the status, which is 2xx. Redirects are not followed, and no reply's body is read.

        Raises
        ------
        InvalidUrl, AddressRefused, FetchFailed, FetchTimeout
            As for `fetch`. The details of FetchFailed hold the `status` of an answer other than 2xx, and its `retry_after`
            what the answer says of that.
        """
        target, deadline = _parse(url), time.monotonic() + self.timeout
        with self._failures(target):
            connection = self._connect(target, deadline)
            try:
                response = self._request(connection, target, "identity", None, post=(headers, body))
                try:
                    return _taken(response, target)
                finally:
                    response.close()
            finally:
                connection.close()

    @staticmethod
    def check(url: str) -> None:
        """Nothing if `url` can be asked for at all; names are not looked up.

        Raises
        ------
        InvalidUrl
        """
        _parse(url)

    def stream(self, url: str, *, silence: float = 10.0, login: Login | None = None) -> Stream:
        """Open a URL whose reply goes on and on, and leave its body to be read as it comes. `timeout` is for opening.

        Parameters
        ----------
        silence : float
            Seconds without a byte after which reading raises.
        login : callable, optional
            Called with the ``WWW-Authenticate`` headers of a reply 401 and the path that was asked for; gives the value of
            ``Authorization``, or None. It is asked once, and for the host of `url` alone.

        Raises
        ------
        InvalidUrl, AddressRefused, FetchFailed, FetchTimeout
        """
        deadline, first, authorization = time.monotonic() + self.timeout, None, None
        for _ in range(self.max_redirects + 2):
            target = _parse(url)
            first = first or target
            own = (target.scheme, target.authority) == (first.scheme, first.authority)
            with self._failures(target):
                outcome = self._begin(target, deadline, silence, authorization if own else None)
            if isinstance(outcome, Stream):
                return outcome
            if isinstance(outcome, str):
                url = outcome
                continue
            refused = FetchFailed(f"{target.authority} answered with status 401", status=401)
            if authorization is not None or not own or login is None:
                raise refused
            authorization = login(outcome, target.path)
            if authorization is None:
                raise refused
        raise FetchFailed(f"expected at most {self.max_redirects} redirects, got more")

    def _begin(self, target: _Target, deadline: float, silence: float, authorization: str | None) -> Stream | str | list[str]:
        """One request: its reply, the URL that it was redirected to, or the challenges of a 401."""
        connection, response = self._connect(target, deadline), None
        try:
            response = self._request(connection, target, "identity", authorization)
            if response.status in _REDIRECTS:
                return _redirect(response, target)
            if response.status == 401:
                return response.headers.get_all("WWW-Authenticate") or []
            if not 200 <= response.status < 300:
                raise FetchFailed(f"{target.authority} answered with status {response.status}", status=response.status)
            connection.silence = silence
            made = Stream(connection, response)
            connection = response = None
            return made
        finally:
            for each in (response, connection):
                if each is not None:
                    each.close()

    def _ask(self, target: _Target, deadline: float) -> Fetched | str:
        """One request: what it brought, or the URL that it was redirected to."""
        with self._failures(target):
            connection = self._connect(target, deadline)
            try:
                return self._exchange(connection, target)
            finally:
                connection.close()

    @contextmanager
    def _failures(self, target: _Target) -> Iterator[None]:
        """Whatever goes wrong on a connection, as the errors that are promised."""
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
            raise FetchFailed(f"{target.authority} closed the connection or sent what is not HTTP") from None

    # --- where to ---

    def _connect(self, target: _Target, deadline: float) -> _Plain | _Tls:
        addresses = self._addresses(target, deadline)
        connection, refused = None, None
        for number, (family, address) in enumerate(addresses):
            try:
                connection = _Plain(family, socket.SOCK_STREAM)
                self._on_socket(connection)
                connection.guard(deadline, self.max_bytes + _HEADER_BYTES)
                connection.settimeout(connection.left() / (len(addresses) - number))
                connection.connect((str(address), target.port))
                break
            except OSError as error:
                if connection is not None:
                    connection.close()
                connection, refused = None, error
        if connection is None:
            if isinstance(refused, TimeoutError):
                raise refused
            raise FetchFailed(f"no connection to {target.authority} could be made")
        return self._secured(connection, target) if target.scheme == "https" else connection

    def _addresses(self, target: _Target, deadline: float) -> list[tuple[int, Address]]:
        """Every address of the target, all of them allowed."""
        addresses = [target.literal] if target.literal else self._resolve(target, deadline)
        if not all(self._allowed(address) for address in addresses):
            raise AddressRefused(f"{target.host} leads to an address that is not allowed", host=target.host)
        return [(socket.AF_INET if a.version == 4 else socket.AF_INET6, a) for a in addresses]

    def _resolve(self, target: _Target, deadline: float) -> list[Address]:
        """Ask the resolver, which knows no time limit, in a thread that is left behind when time is up."""
        answer: list = []

        def ask():
            try:
                answer.append(self._resolver(target.host, target.port, type=socket.SOCK_STREAM))
            except Exception as error:  # whatever it is, the caller must not wait for the deadline
                answer.append(error)

        thread = threading.Thread(target=ask, name="resolve", daemon=True)
        thread.start()
        thread.join(max(0.0, deadline - time.monotonic()))
        if not answer:
            raise _timeout(self.timeout)
        if isinstance(answer[0], Exception) or not answer[0]:
            raise FetchFailed(f"there is no host {target.host}")
        found = [str(sockaddr[0]).partition("%")[0] for *_, sockaddr in answer[0]]
        try:
            return [ipaddress.ip_address(text) for text in dict.fromkeys(found)]
        except ValueError:
            raise FetchFailed(f"there is no usable address of {target.host}") from None

    def _allowed(self, address: Address) -> bool:
        if self._permit is not None:
            return self._permit(address)
        at = reached(address)
        return any(a in network for network in self._allow for a in (address, at)) or is_public(at)

    def _secured(self, connection: _Plain, target: _Target) -> _Tls:
        """TLS over a connection, the certificate checked against the URL's host name."""
        secured = connection
        try:
            secured = self._context().wrap_socket(
                connection, server_hostname=target.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            self._on_socket(secured)
            secured.guard(connection.deadline, connection.budget)
            secured.settimeout(secured.left())
            secured.do_handshake()
        except BaseException:
            secured.close()
            raise
        return secured

    def _context(self) -> ssl.SSLContext:
        with self._tls_lock:
            if self._tls is None:
                import certifi

                context = ssl.create_default_context()
                for file in filter(None, (certifi.where(), self._cafile)):
                    context.load_verify_locations(file)
                context.sslsocket_class = _Tls
                self._tls = context
            return self._tls

    # --- what is said ---

    def _exchange(self, connection: _Plain | _Tls, target: _Target) -> Fetched | str:
        response = self._request(connection, target, "gzip", None)
        try:
            return self._outcome(response, target)
        finally:
            response.close()

    def _request(
        self,
        connection: _Plain | _Tls,
        target: _Target,
        encoding: str,
        authorization: str | None,
        post: tuple[Mapping[str, str], bytes] | None = None,
    ) -> http.client.HTTPResponse:
        """Ask for the target, or with `post` send it these headers and this body."""
        headers, body = ({"Accept": "image/*,*/*;q=0.5"}, None) if post is None else post
        length = None if body is None else str(len(body))
        request = http.client.HTTPConnection(target.host, target.port)
        request.sock, request.auto_open = connection, 0
        request.putrequest("GET" if body is None else "POST", target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in (
            ("Host", target.authority), ("User-Agent", "recognizer"), *headers.items(), ("Content-Length", length),
            ("Accept-Encoding", encoding), ("Connection", "close"), ("Authorization", authorization),
        ):  # fmt: skip
            if value is not None:
                request.putheader(name, value)
        connection.settimeout(connection.left())
        request.endheaders(body)
        return request.getresponse()

    def _outcome(self, response: http.client.HTTPResponse, target: _Target) -> Fetched | str:
        if response.status in _REDIRECTS:
            return _redirect(response, target)
        if not 200 <= response.status < 300:
            raise FetchFailed(f"{target.authority} answered with status {response.status}", status=response.status)
        if response.length is not None and response.length > self.max_bytes:
            raise FetchTooLarge(
                f"expected at most {self.max_bytes} bytes, got {response.length}",
                bytes=response.length, max_bytes=self.max_bytes,
            )  # fmt: skip
        return Fetched(self._body(response, target), response.headers.get("Content-Type", ""), target.url)

    def _body(self, response: http.client.HTTPResponse, target: _Target) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise FetchFailed(f"{target.authority} sent an encoding that was not asked for")
        unpack = zlib.decompressobj(47) if "gzip" in encoding or encoding == "deflate" else None
        expected, wire, body = response.length, 0, bytearray()
        while piece := response.read(_PIECE):
            wire += len(piece)
            body += unpack.decompress(piece, self.max_bytes + 1 - len(body)) if unpack else piece
            if wire > self.max_bytes or len(body) > self.max_bytes:
                raise FetchTooLarge(f"expected at most {self.max_bytes} bytes, got more", max_bytes=self.max_bytes)
            if unpack and unpack.eof:
                break
        cut = unpack is not None and wire and not unpack.eof
        if cut or (unpack is None and expected is not None and wire < expected):
            raise FetchFailed(f"{target.authority} closed the connection before the end of its reply")
        if not body:
            raise FetchFailed(f"{target.authority} sent an empty reply", status=response.status)
        return bytes(body)


# --- addresses -------------------------------------------------------------------------------------------------------


def reached(address: Address) -> Address:
    """The address that packets end up at: the IPv4 address inside a mapped or NAT64 one, else the address itself."""
    if address.version == 6:
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether an address is one of the Internet at large. 6to4 and Teredo, which wrap an IPv4 address, never are."""
    if address.version == 6 and address not in _IPV6_IN_USE:
        return False
    return not any(address in network for network in _REFUSED if network.version == address.version)


# --- URLs ------------------------------------------------------------------------------------------------------------


def _parse(url: str) -> _Target:
    """Read a URL as a browser does, except where browsers mend what only an attacker writes: that is refused."""
    if not isinstance(url, str) or not 0 < len(url.strip()) <= _MOST_URL:
        raise InvalidUrl(f"expected a URL of 1 to {_MOST_URL} characters")
    url = url.strip(" \t\r\n")
    if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", url):
        raise InvalidUrl("expected a URL without control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidUrl("expected a URL with a host and a port that can be read") from None
    if parts.scheme not in ("http", "https"):
        raise InvalidUrl("expected a URL that begins with http:// or https://")
    if not parts.hostname or "@" in parts.netloc or "\\" in parts.netloc + parts.path:
        raise InvalidUrl("expected a URL with a host and without user names and backslashes")
    if port == 0 or not re.fullmatch(r"[^:]*|.*\]|.*:[0-9]{0,5}", parts.netloc, re.ASCII):
        raise InvalidUrl("expected a port from 1 to 65535")
    host, literal = read_host(parts.netloc)
    path = _without_dots(quote(parts.path or "/", safe="/%:@!$&'()*+,;=~[]|"))
    if parts.query:
        path += "?" + quote(parts.query, safe="/%?:@!$&()*+,;=~[]|{}^`\\")
    return _Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path, literal)


def read_host(netloc: str) -> tuple[str, Address | None]:
    """The host in ASCII, and its address if it is written as one, in any way that some resolver takes for one."""
    if netloc.startswith("["):
        try:
            address = ipaddress.IPv6Address(netloc[1 : netloc.index("]")])
        except ValueError:
            raise InvalidUrl("expected an IPv6 address between brackets") from None
        if address.scope_id:
            raise InvalidUrl("expected an IPv6 address without a zone")
        return str(address), address
    name = _ascii(netloc.partition(":")[0]).removesuffix(".")
    if not re.fullmatch(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", name) or len(name) > 253:
        raise InvalidUrl("expected a host name of letters, digits, dots and hyphens")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", name.rpartition(".")[2]):  # the URL Standard: ends in a number
        address = _ipv4(name)
        return str(address), address
    return name, None


def _ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    import idna

    try:
        return idna.encode(host, uts46=True, transitional=False).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        # digits and dots of other scripts make no valid name, but may make an address
        try:
            mapped = idna.uts46_remap(host)
        except (idna.IDNAError, UnicodeError):
            mapped = host
        if mapped.isascii():
            return mapped.lower()
        raise InvalidUrl("expected a host name that can be written in ASCII") from None


def _ipv4(text: str) -> ipaddress.IPv4Address:
    """One to four decimal, octal (0...) or hexadecimal (0x...) numbers, the last fills what is left (inet_aton)."""
    numbers = []
    for part in text.split("."):
        base, digits = (16, part[2:] or "0") if part.startswith("0x") else (8 if part.startswith("0") else 10, part)
        try:
            numbers.append(int(digits if digits.isalnum() else "no number", base))
        except ValueError:
            raise InvalidUrl("expected an IPv4 address of four numbers") from None
    if len(numbers) > 4 or max(numbers[:-1], default=0) > 255 or numbers[-1] >= 256 ** (5 - len(numbers)):
        raise InvalidUrl("expected an IPv4 address of four numbers")
    value = numbers[-1] + sum(number << 24 - 8 * i for i, number in enumerate(numbers[:-1]))
    return ipaddress.IPv4Address(value)


def _without_dots(path: str) -> str:
    """Resolve the segments . and .. (also when percent-encoded), as RFC 3986, section 5.2.4, says."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        plain = segment.lower().replace("%2e", ".")
        if plain == "..":
            del kept[-1:]
        if plain not in (".", ".."):
            kept.append(segment)
        elif number == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _taken(response: http.client.HTTPResponse, target: _Target) -> int:
    """The status of an answer to what was posted, if it is 2xx."""
    if 200 <= response.status < 300:
        return response.status
    error = FetchFailed(f"{target.authority} answered with status {response.status}", status=response.status)
    wait = response.headers.get("Retry-After", "")
    if wait.isascii() and wait.isdigit():
        error.retry_after = min(float(wait[:9]), _LONGEST_RETRY_AFTER)
    raise error


def _redirect(response: http.client.HTTPResponse, target: _Target) -> str:
    location = response.headers.get("Location")
    if not location:
        raise FetchFailed(f"{target.authority} redirects without saying where to", status=response.status)
    try:  # http.client reads headers as Latin-1; servers write UTF-8
        location = location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        pass
    try:
        return urljoin(target.url, location.strip())
    except ValueError:
        raise InvalidUrl("the URL redirects to one that cannot be read") from None


# --- sockets ---------------------------------------------------------------------------------------------------------


def _timeout(seconds: float) -> FetchTimeout:
    return FetchTimeout(f"expected a reply within {seconds:g} seconds, got none that was complete")


class _Guarded:
    """A socket whose every read counts against one deadline and one budget of bytes."""

    deadline = 0.0
    budget = 0
    silence: float | None = None  # once set, seconds that each read may take, instead of deadline and budget

    def guard(self, deadline: float, budget: int) -> None:
        self.deadline, self.budget = deadline, budget

    def left(self) -> float:
        """Seconds until the deadline; raises TimeoutError when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def recv_into(self, *args, **kwargs) -> int:
        if self.silence is not None:
            self.settimeout(self.silence)
            return super().recv_into(*args, **kwargs)
        self.settimeout(self.left())
        count = super().recv_into(*args, **kwargs)
        self.budget -= count
        if self.budget < 0:
            raise FetchTooLarge("expected a reply within the byte limit, got more")
        return count


class _Plain(_Guarded, socket.socket):
    pass


class _Tls(_Guarded, ssl.SSLSocket):
    pass
