"""NAS security against test vectors of TS 33.401 annex C, and between two ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.protocols import nas
from ferret.protocols.nas.security import Direction, eea2, eia2

PLAIN = nas.build_emm(nas.MessageType.IDENTITY_REQUEST, {"Identity type": 1}).octets


def test_eia2_gives_what_annex_c_2_2_gives() -> None:
    key = bytes.fromhex("d3c5d592327fb11c4035c6680af8c6d1")
    mac = eia2(key, 0x398A59B4, 0x1A, Direction.DOWNLINK, bytes.fromhex("484583d5afe082ae"))
    assert mac.hex() == "b93787e6"


def test_eea2_gives_what_annex_c_1_1_gives() -> None:
    key = bytes.fromhex("d3c5d592327fb11c4035c6680af8c6d1")
    text = bytes.fromhex("981ba6824c1bfb1ab485472029b71d808ce33e2cc3c0b5fc1f3de8a6dc66b1f0")
    ciphered = eea2(key, 0x398A59B4, 0x15, Direction.DOWNLINK, text)
    assert ciphered.hex() == "e9fed8a63d155304d71df20bf3e82214b20ed7dad2f233dc3c22d7bdeeed8e78"


@pytest.mark.parametrize("algorithms", [(3, 0), (2, 3), (7, 7)])
def test_algorithms_that_are_not_there_are_refused_by_name(algorithms: tuple[int, int]) -> None:
    with pytest.raises(nas.UnsupportedAlgorithmError, match="not supported"):
        nas.NasSecurityContext(bytes(32), *algorithms)


@settings(max_examples=60)
@given(start=st.integers(0, 2**20), skipped=st.integers(0, 200), algorithm=st.sampled_from([0, 1, 2]))
def test_a_receiver_follows_the_senders_count_over_losses(start: int, skipped: int, algorithm: int) -> None:
    sender = nas.NasSecurityContext(bytes(32), max(algorithm, 1), algorithm, uplink_count=start + skipped)
    receiver = nas.NasSecurityContext(bytes(32), max(algorithm, 1), algorithm, uplink_count=start)
    header = nas.SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED
    octets = sender.protect(PLAIN, header, Direction.UPLINK)
    plain, verified = nas.verify(octets, receiver, Direction.UPLINK)
    assert verified and plain is not None and plain.octets == PLAIN
    assert receiver.uplink_count == sender.uplink_count == start + skipped + 1


def test_a_changed_message_is_not_verified_and_does_not_move_the_count() -> None:
    sender, receiver = nas.NasSecurityContext(bytes(32), 2, 0), nas.NasSecurityContext(bytes(32), 2, 0)
    octets = bytearray(sender.protect(PLAIN, nas.SecurityHeader.INTEGRITY_PROTECTED, Direction.DOWNLINK))
    octets[-1] ^= 1
    assert nas.verify(bytes(octets), receiver, Direction.DOWNLINK)[1] is False
    assert receiver.downlink_count == 0


def test_a_service_request_is_verified_by_its_short_mac() -> None:
    sender = nas.NasSecurityContext(bytes(32), 2, 0, ksi=3, uplink_count=70)
    receiver = nas.NasSecurityContext(bytes(32), 2, 0, uplink_count=66)
    assert nas.verify(sender.protect_service_request(), receiver, Direction.UPLINK) == (None, True)
    assert receiver.uplink_count == 71


def test_keys_do_not_show() -> None:
    assert "4141" not in repr(nas.NasSecurityContext(b"\x41" * 32, 2, 0))
    assert "AAAA" not in repr(nas.NasSecurityContext(b"\x41" * 32, 2, 0))
