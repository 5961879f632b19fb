"""Every message of the project's captures has a type's name, of which there are few."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferret.protocols.summary import Protocol
from ferret_agents.capture.reader import read
from ferret_agents.live.message_types import OTHER, type_of


@pytest.mark.parametrize(
    ("protocol", "octets", "name"),
    [
        (Protocol.GTPV2, b"\x48\x20\0\0", "Create Session Request"),
        (Protocol.DIAMETER, b"\x01\0\0\x14\xc0\0\x01\x10", "Credit-Control request"),
        (Protocol.DIAMETER, b"\x01\0\0\x14\x40\0\x01\x3c", "Update-Location answer"),
        (Protocol.SIP, b"INVITE sip:a@b SIP/2.0\r\n", "INVITE"),
        (Protocol.SIP, b"\r\nINVITE sip:a@b SIP/2.0\r\n", "INVITE"),
        (Protocol.SIP, b"SIP/2.0 183 Session Progress\r\n", "1xx"),
        (Protocol.SIP, b"WHATEVER sip:a@b SIP/2.0\r\n", OTHER),
        (Protocol.S1AP, b"\x00\x0c\x40", "InitialUEMessage"),
        (Protocol.S1AP, b"\x20\x09\x00", "InitialContextSetupResponse"),
    ],
)
def test_the_type_is_read_from_the_first_octets(protocol: Protocol, octets: bytes, name: str) -> None:
    assert type_of(protocol, octets) == name


@given(st.sampled_from(list(Protocol)), st.binary(max_size=40))
def test_any_octets_have_a_type(protocol: Protocol, octets: bytes) -> None:
    assert type_of(protocol, octets)


def test_messages_of_real_networks_are_of_known_types(own_captures: list[Path]) -> None:
    for path in own_captures:
        for message in read(path).messages:
            assert OTHER not in type_of(message.protocol, message.octets)
