"""Whatever base stations, devices and gateways send: the MME refuses it by name or survives it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ferret.errors import FerretError
from ferret.protocols import diameter, gtpv2, s1ap
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Role
from ferret_agents.capture.reader import CaptureReader
from ferret_core.mme import Mme
from ferret_core.nf import Peer, Received

MME = "172.22.0.2"


@pytest.fixture(scope="module")
def octets_received(capture: Callable[[str], Path]) -> list[tuple[Protocol, bytes]]:
    return [
        (one.protocol, one.octets)
        for one in CaptureReader(capture("open5gs-volte.pcap"))
        if one.destination.address == MME and one.protocol is not Protocol.SIP
    ]


def give(mme: Mme, protocol: Protocol, octets: bytes, transaction: int) -> None:
    """One message, decoded as an edge node does it. Only FerretError may come out."""
    try:
        if protocol is Protocol.S1AP:
            event = Received(Interface.S1_MME, Peer(Role.ENB, "172.22.0.30"), s1ap.decode(octets))
        elif protocol is Protocol.GTPV2:
            event = Received(Interface.S11, Peer(Role.SGW, "172.22.0.3"), gtpv2.decode(octets), transaction)
        else:
            event = Received(Interface.S6A, Peer(Role.HSS), diameter.decode(octets), transaction)
        for output in mme.receive(event, 0.0):
            message = getattr(output, "message", None)
            if message is not None:
                message.encode()
    except FerretError:
        return


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_recorded_dialogue_with_damage_in_it_never_breaks_the_mme(
    octets_received: list[tuple[Protocol, bytes]], data: st.DataObject
) -> None:
    random = Random(data.draw(st.integers(0, 2**32)))
    mme = Mme(address=MME, random=random)
    for number, (protocol, octets) in enumerate(octets_received, 1):
        damaged = bytearray(octets)
        if random.random() < 0.3:
            for _ in range(random.randrange(1, 4)):
                damaged[random.randrange(len(damaged))] = random.randrange(256)
        # requests in flight are numbered from 1 on: some answers find theirs, some find another's
        give(mme, protocol, bytes(damaged), random.choice([number, *mme.pending]))
    mme.leftovers()


@settings(max_examples=100)
@given(nas_pdu=st.binary(max_size=80), tai=st.integers(0, 65535))
def test_any_octets_as_nas_are_refused_or_survived(nas_pdu: bytes, tai: int) -> None:
    mme = Mme(address=MME, random=Random(1))
    message = s1ap.initial_ue_message(
        enb_ue_s1ap_id=1, nas_pdu=nas_pdu, tai=s1ap.Tai("00101", tai), ecgi=s1ap.Ecgi("00101", 1)
    )
    give(mme, Protocol.S1AP, message.octets, 0)
