"""Whatever a peer sends to PCRF or HSS on Diameter, they answer or note it; nothing is raised."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import DecodeError
from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Avp, Message
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Role
from ferret_agents.capture import reader
from ferret_core.hss import Hss
from ferret_core.nf import NetworkFunction, Note, Peer, Received, Send
from ferret_core.pcrf import Pcrf, policy_from_recording
from ferret_core.pcrf.recording import missing_gx_sessions
from ferret_core.rx import habits

CALL = Path(__file__).parents[1] / "data" / "open5gs-volte.pcap"
INTERFACES = {Application.GX: Interface.GX, Application.RX: Interface.RX, Application.S6A: Interface.S6A}


@cache
def recorded() -> tuple[bytes, ...]:
    """Every Diameter message of a call, and those of a registration."""
    paths = (CALL, CALL.with_name("kamailio-ims-call.pcap"))
    octets = [one.octets for path in paths for one in reader.messages(path) if one.protocol is Protocol.DIAMETER]
    return tuple(dict.fromkeys(octets))


def functions() -> Iterator[NetworkFunction]:
    pcrf = Pcrf(address="127.0.0.9", random=Random(1))
    hss = Hss(address="127.0.0.8", random=Random(1))
    key = "8BAFC7BFAF8FD09487CCCBD7A97C6862"
    subscriber = {"imsi": "999700000000010", "k": key, "op": key, "msisdn": "491700000010", "apns": [{"apn": "ims"}]}
    hss.import_context({"ims_domain": "ims.mnc070.mcc999.3gppnetwork.org", "subscribers": [subscriber]}, 0.0)
    yield from (pcrf, hss)


def give(function: NetworkFunction, message: Message, transaction: int) -> None:
    interface = INTERFACES.get(Application(message.application), Interface.CX)
    outputs = function.receive(Received(interface, Peer(Role.PGW), message, transaction), 0.0)
    for output in outputs:
        assert isinstance(output, (Send, Note))
        if isinstance(output, Send):
            assert isinstance(output.message, Message)
            assert diameter.decode(output.message.encode()) == output.message
    if message.is_request:
        answers = [one for one in outputs if isinstance(one, Send) and one.reply_to == transaction]
        assert len(answers) == 1, "every request is answered once"


@given(st.data())
@settings(max_examples=150)
def test_damaged_messages_are_answered_or_noted(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from(recorded())))
    for _ in range(data.draw(st.integers(1, 8))):
        octets[data.draw(st.integers(20, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = diameter.decode(bytes(octets))
    except DecodeError:
        return
    for function in functions():
        for whole in recorded()[: data.draw(st.integers(0, 12))]:
            give(function, diameter.decode(whole), 1)
        give(function, message, 2)


def _without(avps: tuple[Avp, ...], place: int) -> tuple[Avp, ...]:
    return avps[:place] + avps[place + 1 :]


def test_messages_that_lack_any_one_avp_are_answered_or_noted() -> None:
    for octets in recorded():
        message = diameter.decode(octets)
        for place in range(len(message.avps)):
            lacking = Message(message.command, message.application, message.flags, 1, 1, _without(message.avps, place))
            for function in functions():
                give(function, lacking, 3)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_recordings_give_some_policy(seed: int) -> None:
    random = Random(seed)
    messages = []
    for octets in recorded():
        damaged = bytearray(octets)
        damaged[random.randrange(20, len(damaged))] = random.randrange(256)
        try:
            messages.append(diameter.decode(bytes(damaged)))
        except DecodeError:
            continue
    context = {**policy_from_recording(messages), "gx_sessions": missing_gx_sessions(messages)}
    Pcrf(address="127.0.0.9", random=Random(1)).import_context(context, 0.0)
    habits(messages)
