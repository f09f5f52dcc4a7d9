"""Web push: the encryption of a message for one browser (RFC 8291), and the proof of who sends it (VAPID, RFC 8292).

Pure functions on the package cryptography, which is installed anyway. The libraries for web push on PyPI send by HTTP clients
of their own, without the guard of `fetching.fetcher`: of them only this part could be used.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

#: Maximum number of bytes of a message before it is encrypted: push services take records of 4096 bytes.
MOST_BYTES = 3900
#: Seconds for which the proof of one request holds; RFC 8292 allows a day.
PROOF_SECONDS = 12 * 3600
_RECORD = 4096
_POINT, _SECRET, _NUMBER = 65, 16, 32


def new_key() -> str:
    """A new private key of the server, base64url without padding."""
    from cryptography.hazmat.primitives.asymmetric import ec

    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return to_base64(number.to_bytes(_NUMBER, "big"))


def public_key(private: str) -> str:
    """The public key of a private one, as browsers take it as `applicationServerKey`.

    Raises
    ------
    ValueError
    """
    return to_base64(_point(_private(private).public_key()))


def check_subscription(p256dh: str, auth: str) -> None:
    """See that these are the keys of a browser: a point of the curve P-256, and 16 bytes.

    Raises
    ------
    ValueError
    """
    _public(from_base64(p256dh))
    if len(from_base64(auth)) != _SECRET:
        raise ValueError("auth: expected 16 bytes")


def encrypted(message: bytes, p256dh: str, auth: str, salt: bytes | None = None, sender: str | None = None) -> bytes:
    """The body of a push message, which only the browser with these keys can read (``Content-Encoding: aes128gcm``).

    Parameters
    ----------
    message : bytes
        At most `MOST_BYTES`.
    p256dh, auth : str
        The browser's public key and secret, base64url.
    salt, sender : bytes and str, optional
        16 bytes, and a private key that is used once; made at random, and given only to repeat an example.

    Raises
    ------
    ValueError
        The message is too long, or the keys are none.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(message) > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} bytes, got {len(message)}")
    receiver, secret = from_base64(p256dh), from_base64(auth)
    once = _private(new_key() if sender is None else sender)
    salt = secrets.token_bytes(16) if salt is None else salt
    own = _point(once.public_key())
    shared = once.exchange(ec.ECDH(), _public(receiver))
    material = _derived(shared, secret, b"WebPush: info\0" + receiver + own, 32)
    content_key = _derived(material, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(material, salt, b"Content-Encoding: nonce\0", 12)
    sealed = AESGCM(content_key).encrypt(nonce, message + b"\x02", None)  # 2: the last record
    return salt + _RECORD.to_bytes(4, "big") + bytes([len(own)]) + own + sealed


def authorization(private: str, endpoint: str, contact: str, now: float) -> str:
    """The header ``Authorization`` for a request to a push service.

    Parameters
    ----------
    private : str
        The server's key.
    endpoint : str
        The address of the subscription; the proof holds for its host only.
    contact : str
        Whom the service may ask: an ``https:`` or ``mailto:`` URI.
    now : float
        Seconds since 1970.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    parts = urlsplit(endpoint)
    claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": int(now) + PROOF_SECONDS, "sub": contact}
    pieces = (json.dumps(each, separators=(",", ":")).encode() for each in ({"typ": "JWT", "alg": "ES256"}, claims))
    signed = ".".join(map(to_base64, pieces))
    r, s = utils.decode_dss_signature(_private(private).sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(_NUMBER, "big") + s.to_bytes(_NUMBER, "big")
    return f"vapid t={signed}.{to_base64(signature)}, k={public_key(private)}"


def to_base64(data: bytes) -> str:
    """Bytes as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64(text: str) -> bytes:
    """The bytes of base64url, with or without padding.

    Raises
    ------
    ValueError
    """
    plain = text.rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("expected base64url") from None


def _derived(material: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(hashes.SHA256(), length, salt, info).derive(material)


def _private(key: str) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.derive_private_key(int.from_bytes(from_base64(key), "big"), ec.SECP256R1())


def _public(point: bytes) -> ec.EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    if len(point) != _POINT:
        raise ValueError("p256dh: expected a point of 65 bytes")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
