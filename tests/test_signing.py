"""AWS signatures, checked against botocore's own signer; and the file of the keys that may sign."""

from __future__ import annotations

import hashlib
import io
import stat
from datetime import datetime, timezone
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from recognizer.access import signing
from recognizer.access.access_file import AccessFile
from recognizer.access.dialects import DIALECTS
from recognizer.access.gate import AccessRules, Gate
from recognizer.access.keys import Keys
from recognizer.access.route_roles import ROUTES
from recognizer.access.sessions import Sessions
from recognizer.access.signing import SigningSecrets
from recognizer.core.errors import InvalidKey, RecognizerError, SealBroken, StorageError
from recognizer.core.vault import Vault

SECRET, BODY = "rk_abcdefgh_" + "s" * 43, b'{"CollectionId": "people"}'
URL = "http://127.0.0.1:8000/rekognition/"


def signed(secret: str = SECRET, key: str = "abcdefgh", url: str = URL, body: bytes = BODY, **headers: str) -> dict:
    """The WSGI environ of a request that botocore has signed."""
    given = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "RekognitionService.ListFaces", **headers}
    request = AWSRequest("POST", url, headers=given, data=body)
    SigV4Auth(Credentials(key, secret), "rekognition", "us-east-1").add_auth(request)
    parts = urlsplit(url)
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": parts.path,
        "QUERY_STRING": parts.query,
        "HTTP_HOST": parts.netloc,
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    return environ


def refused(environ: dict, body: bytes = BODY, secret: str = SECRET, now=None) -> str:
    with pytest.raises(InvalidKey) as caught:
        signing.check(environ, body, secret, *([now] if now else []))
    return caught.value.message


@pytest.mark.parametrize(
    "url", [URL, "http://127.0.0.1:8000/", "http://host.example/a/b~c/", "http://127.0.0.1:8000/rekognition/?b=2&a=1&c"]
)
def test_what_botocore_signs_is_accepted(url):
    signing.check(signed(url=url), BODY, SECRET)
    with_more = {
        "X-Amz-Security-Token": "t",
        "X-Amz-Content-Sha256": hashlib.sha256(BODY).hexdigest(),
        "X-Amz-User-Agent": "a  b",
    }
    signing.check(signed(url=url, **with_more), BODY, SECRET)
    refused(signed(url=url), secret="another")


def test_whatever_is_changed_is_refused():
    assert "does not match" in refused(signed(), b'{"CollectionId": "others"}')
    for name, value in (
        ("HTTP_X_AMZ_TARGET", "RekognitionService.DeleteCollection"),
        ("HTTP_HOST", "other.example"),
        ("PATH_INFO", "/other/"),
        ("QUERY_STRING", "a=1"),
        ("REQUEST_METHOD", "GET"),
    ):
        assert "does not match" in refused({**signed(), name: value})
    assert "body" in refused({**signed(), "HTTP_X_AMZ_CONTENT_SHA256": "0" * 64})
    late = datetime.now(timezone.utc).timestamp() + signing.CLOCK_SECONDS + 10
    assert "expired" in refused(signed(), now=lambda: late)
    assert "expired" in refused({**signed(), "HTTP_X_AMZ_DATE": "yesterday"})


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x-amz-date, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20261130/r/s/aws4_request, SignedHeaders=x-amz-date, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20261130/r/s/aws4_request, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20261130/r/s/other, SignedHeaders=host;x-amz-date, Signature=0",
    ],
)
def test_signatures_that_say_too_little(header):
    environ = {**signed(), "HTTP_AUTHORIZATION": header}
    assert signing.is_signed(environ)
    refused(environ)


def test_the_secrets_are_encrypted_as_everything_is(tmp_path):
    plain, vault = SigningSecrets(tmp_path, lambda: None), Vault([b"k" * 32])
    assert plain.get("a") is None
    plain.add("a", "first")
    plain.add("b", "second")
    file = tmp_path / signing.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and b"first" in file.read_bytes()
    plain.remove("a")
    plain.remove("never")
    assert (plain.get("a"), plain.get("b")) == (None, "second")
    file.unlink()
    sealed = SigningSecrets(tmp_path, lambda: vault)
    sealed.add("a", "first")
    assert b"first" not in file.read_bytes() and SigningSecrets(tmp_path, lambda: vault).get("a") == "first"
    with pytest.raises(StorageError):
        SigningSecrets(tmp_path, lambda: None).get("a")
    with pytest.raises((SealBroken, RecognizerError)):
        SigningSecrets(tmp_path, lambda: Vault([b"o" * 32])).get("a")


def test_the_gate_takes_signatures_of_living_keys_only(tmp_path):
    access = AccessFile(tmp_path / "access.sqlite")
    keys, secrets = Keys(access), SigningSecrets(tmp_path, lambda: None)
    key, text = keys.add("signer", "write")
    other, other_text = keys.add("no signer", "admin")
    secrets.add(key.id, text)
    (dialect,) = (each for each in DIALECTS if each.name == "rekognition")
    from dataclasses import replace

    gate = Gate(keys, Sessions(access, keys, 60), AccessRules(), ROUTES, [replace(dialect, prefix="/rekognition")], secrets)
    good = signed(text, key.id)
    visit = gate.admit(good)
    assert visit.awaits_key and visit.role == "anyone"
    gate.take_signature(good, BODY)
    assert (visit.key.id, visit.role) == (key.id, "write") and not visit.awaits_key
    bad = signed("wrong", key.id)
    gate.admit(bad)
    with pytest.raises(InvalidKey):
        gate.take_signature(bad, BODY)
    assert gate.admit(bad).role == "anyone"
    for unknown in (signed(other_text, other.id), signed("x", "nobody"), signed(text, "../../x")):
        assert isinstance(gate.admit(unknown).error, InvalidKey)  # before the body is read
    elsewhere = {**signed(text, key.id), "PATH_INFO": "/people"}
    assert isinstance(gate.admit(elsewhere).error, InvalidKey)  # only where the dialect is
    keys.revoke(key.id)
    assert isinstance(gate.admit(signed(text, key.id)).error, InvalidKey)
    assert gate.admit({**signed(), "HTTP_AUTHORIZATION": f"Bearer {other_text}"}).role == "admin"
