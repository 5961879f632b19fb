"""SNOW 3G and what is made of it, against the test data of TS 35.217 and of TS 33.401 annex C."""

from __future__ import annotations

from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.protocols.nas.snow3g import eea1, eia1, keystream


def test_the_keystream_is_that_of_test_set_1() -> None:
    # k0 to k3 of the test set; `keystream` takes a confidentiality key, whose first word is k3
    words = ["2bd6459f", "82c5b300", "952c4910", "4881ff48"]
    iv = (0xEA024714, 0xAD5C4D84, 0xDF1F9B25, 0x1C0BF45F)
    assert list(islice(keystream(bytes.fromhex("".join(reversed(words))), iv), 2)) == [0xABEE9704, 0x7AC31373]


def test_eia1_gives_what_annex_c_4_1_gives() -> None:
    key = bytes.fromhex("2bd6459f82c5b300952c49104881ff48")
    mac = eia1(key, 0x38A6F056, 0x1F, 0, bytes.fromhex("3332346263393861373479"))
    assert mac.hex() == "731f1165"


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**24), st.sampled_from([0, 1]), st.binary(max_size=70))
@settings(max_examples=40)
def test_ciphering_twice_gives_the_text_back(key: bytes, count: int, direction: int, text: bytes) -> None:
    ciphered = eea1(key, count, 0, direction, text)
    assert len(ciphered) == len(text)
    assert eea1(key, count, 0, direction, ciphered) == text
