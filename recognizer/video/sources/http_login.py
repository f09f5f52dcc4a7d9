"""Answers to HTTP's challenges: Basic and Digest (RFC 7616), which many cameras insist on."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

_HASHES = {"md5": hashlib.md5, "sha-256": hashlib.sha256}
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


def authorization(challenges: list[str], user: str, password: str, path: str) -> str | None:
    """The ``Authorization`` for a GET of `path`; the safest of the schemes that are offered, None if none is known."""
    offered = [re.match(r"\s*(\w+)\s*(.*)", challenge, re.DOTALL) for challenge in challenges]
    digests = [_parameters(each[2]) for each in offered if each and each[1].lower() == "digest"]
    for algorithm in ("sha-256", "md5"):
        for digest in digests:
            if digest.get("algorithm", "md5").lower() in (algorithm, algorithm + "-sess") and "nonce" in digest:
                return _digest(digest, algorithm, user, password, path)
    if any(each and each[1].lower() == "basic" for each in offered):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return None


def _parameters(text: str) -> dict[str, str]:
    return {
        name.lower(): re.sub(r"\\(.)", r"\1", quoted) if quoted else plain for name, quoted, plain in _PARAMETER.findall(text)
    }


def _digest(given: dict[str, str], algorithm: str, user: str, password: str, path: str) -> str:
    def hashed(*parts: str) -> str:
        return _HASHES[algorithm](":".join(parts).encode()).hexdigest()

    realm, nonce = given.get("realm", ""), given["nonce"]
    ours, count = secrets.token_hex(8), "00000001"
    secret = hashed(user, realm, password)
    if given.get("algorithm", "").lower().endswith("-sess"):
        secret = hashed(secret, nonce, ours)
    shown = {"username": user, "realm": realm, "nonce": nonce, "uri": path}
    asked = hashed("GET", path)
    if "auth" in re.split(r"[\s,]+", given.get("qop", "").lower()):
        response = hashed(secret, nonce, count, ours, "auth", asked)
        bare = f", qop=auth, nc={count}"
        shown["cnonce"] = ours
    else:
        response, bare = hashed(secret, nonce, asked), ""
    shown["response"] = response
    if "opaque" in given:
        shown["opaque"] = given["opaque"]
    quoted = ", ".join(f'{name}="{_escaped(value)}"' for name, value in shown.items())
    named = f", algorithm={given['algorithm']}" if "algorithm" in given else ""
    return f"Digest {quoted}{bare}{named}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
