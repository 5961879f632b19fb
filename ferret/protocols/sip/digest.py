"""Digest authentication for IMS: AKAv1-MD5 and MD5 (RFC 2617, RFC 3310, RFC 7616; TS 33.203 clause 6.1)."""

from __future__ import annotations

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hmac import compare_digest

from ferret.errors import DecodeError
from ferret.protocols.sip.syntax import unquote

_PAIR = re.compile(r'\s*([^\s=,]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^,]*)\s*(?:,|\Z)')
_HASHES = {
    "md5": "md5",
    "akav1-md5": "md5",
    "akav2-md5": "md5",
    "sha-256": "sha256",
    "akav1-sha-256": "sha256",
    "sha-512-256": "sha512_256",
}
# RFC 2617 clause 3.2.1: these are tokens in a challenge, everything else is quoted.
_BARE = frozenset({"algorithm", "stale"})
MAX_PARAMS = 64


def parse(value: str) -> tuple[str, dict[str, str]]:
    """Scheme and parameters (names in lower case, quotes taken off) of a challenge or of credentials.

    Raises DecodeError.
    """
    scheme, _, rest = value.strip().partition(" ")
    params: dict[str, str] = {}
    at = 0
    while at < len(rest):
        match = _PAIR.match(rest, at)
        if match is None or match.end() == at or len(params) >= MAX_PARAMS:
            raise DecodeError("malformed authentication parameters", len(scheme) + 1 + at)
        params[match[1].lower()] = unquote(match[2].strip())
        at = match.end()
    return scheme, params


def format_challenge(params: Mapping[str, str], scheme: str = "Digest") -> str:
    """A WWW-Authenticate value; everything but algorithm and stale is quoted."""
    parts = [f"{name}={text}" if name in _BARE else f'{name}="{text}"' for name, text in params.items()]
    return f"{scheme} " + ", ".join(parts)


def aka_nonce(rand: bytes, autn: bytes) -> str:
    """The nonce of AKA (RFC 3310 clause 3.2): base64 of RAND and AUTN."""
    return b64encode(rand + autn).decode("ascii")


def split_aka_nonce(nonce: str) -> tuple[bytes, bytes]:
    """RAND and AUTN, 16 octets each, out of an AKA nonce. Raises DecodeError."""
    try:
        octets = b64decode(nonce, validate=True)
    except ValueError as error:
        raise DecodeError("an AKA nonce that is not base64") from error
    if len(octets) < 32:
        raise DecodeError("an AKA nonce shorter than RAND and AUTN", len(octets))
    return octets[:16], octets[16:32]


def response(credentials: Mapping[str, str], *, method: str, password: bytes, body: bytes = b"") -> str:
    """The request-digest that a client with this password gives (RFC 2617 clause 3.2.2); hex.

    `password` is RES for AKAv1 (RFC 3310 clause 3.3), as octets. Raises DecodeError on an unknown algorithm or qop.
    """
    algorithm = credentials.get("algorithm", "MD5").lower()
    base, session = algorithm.removesuffix("-sess"), algorithm.endswith("-sess")
    if base not in _HASHES:
        raise DecodeError("an unknown digest algorithm")
    name = _HASHES[base]
    nonce, cnonce = credentials.get("nonce", ""), credentials.get("cnonce", "")
    user, realm = credentials.get("username", ""), credentials.get("realm", "")
    ha1 = _digest(name, _octets(f"{user}:{realm}:") + password)
    if session:
        ha1 = _digest(name, _octets(f"{ha1}:{nonce}:{cnonce}"))
    qop = credentials.get("qop", "").lower()
    a2 = _octets(f"{method}:{credentials.get('uri', '')}")
    if qop == "auth-int":
        a2 += _octets(":" + _digest(name, body))
    elif qop not in ("", "auth"):
        raise DecodeError("an unknown quality of protection")
    middle = f":{credentials.get('nc', '')}:{cnonce}:{qop}:" if qop else ":"
    return _digest(name, _octets(f"{ha1}:{nonce}{middle}{_digest(name, a2)}"))


def verify(credentials: Mapping[str, str], *, method: str, password: bytes, body: bytes = b"") -> bool:
    """Whether the credentials' response is right; False too where they cannot be checked."""
    try:
        expected = response(credentials, method=method, password=password, body=body)
    except DecodeError:
        return False
    return compare_digest(expected, credentials.get("response", "").lower())


def _digest(name: str, octets: bytes) -> str:
    return hashlib.new(name, octets, usedforsecurity=False).hexdigest()


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
