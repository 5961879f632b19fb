"""Digest responses against the examples of the RFCs and the AKA test set."""

from __future__ import annotations

import pytest

from ferret.errors import DecodeError
from ferret.protocols.sip import digest

# RFC 2617 clause 3.5
RFC2617 = (
    'Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
    'uri="/dir/index.html", qop=auth, nc=00000001, cnonce="0a4f113b", '
    'response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
)
# RFC 7616 clause 3.9.1
RFC7616 = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=SHA-256, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
    'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"'
)


@pytest.mark.parametrize(("text", "password"), [(RFC2617, b"Circle Of Life"), (RFC7616, b"Circle of Life")])
def test_the_examples_of_the_rfcs_are_right(text: str, password: bytes) -> None:
    scheme, credentials = digest.parse(text)
    assert scheme == "Digest"
    assert digest.verify(credentials, method="GET", password=password)
    assert not digest.verify(credentials, method="PUT", password=password)
    assert not digest.verify(credentials, method="GET", password=password + b"x")


def test_a_comma_inside_quotes_does_not_separate() -> None:
    _, params = digest.parse('Digest realm="a, b", qop="auth,auth-int", algorithm=AKAv1-MD5')
    assert params == {"realm": "a, b", "qop": "auth,auth-int", "algorithm": "AKAv1-MD5"}


def test_a_challenge_is_read_back() -> None:
    params = {"realm": "ims.example", "nonce": "abc=", "algorithm": "AKAv1-MD5", "qop": "auth"}
    assert digest.parse(digest.format_challenge(params)) == ("Digest", params)


def test_the_aka_nonce_is_rand_and_autn() -> None:
    nonce = digest.aka_nonce(b"r" * 16, b"a" * 16)
    assert digest.split_aka_nonce(nonce) == (b"r" * 16, b"a" * 16)
    for bad in ("", "!!", "YWJj"):
        with pytest.raises(DecodeError):
            digest.split_aka_nonce(bad)


def test_unknown_algorithms_and_malformed_credentials_never_pass() -> None:
    assert not digest.verify({"algorithm": "ROT13", "response": ""}, method="GET", password=b"")
    assert not digest.verify({"qop": "magic", "response": ""}, method="GET", password=b"")
    for bad in ("Digest =x", "Digest ,,", "Digest a=1,=", "Digest " + ",".join(f"a{i}=1" for i in range(100))):
        with pytest.raises(DecodeError):
            digest.parse(bad)
