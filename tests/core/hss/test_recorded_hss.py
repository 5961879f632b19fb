"""The HSS is asked what a recorded HSS was asked, and has to say what it said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Message, avp
from ferret.protocols.nas.milenage import Milenage
from ferret.protocols.nas.security import derive_k_asme
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Role
from ferret_agents.capture import reader
from ferret_core.hss import Hss
from ferret_core.nf import Peer, Received, Send

# Test values: the keys that every subscriber of the recorded lab has.
K, OPC, AMF = "8BAFC7BFAF8FD09487CCCBD7A97C6862", "54BBA954E266D394F5B18B2F01FD9E17", "B9B9"
DOMAIN = "ims.mnc070.mcc999.3gppnetwork.org"
APNS = [{"apn": "internet"}, {"apn": "ims", "qci": 5, "priority_level": 1}]
RANDOM = (
    "RAND",
    "XRES",
    "AUTN",
    "KASME",
    "SIP-Authenticate",
    "SIP-Authorization",
    "Confidentiality-Key",
    "Integrity-Key",
)
IGNORED = ("header/Hop-by-Hop Identifier", "header/End-to-End Identifier", "Supported-Features")


def hss_messages(path: Path) -> list[Message]:
    found: dict[bytes, Message] = {}
    for one in reader.messages(path):
        if one.protocol is Protocol.DIAMETER:
            message = diameter.decode(one.octets)
            if message.application in (Application.S6A, Application.CX):
                found.setdefault(one.octets, message)
    return list(found.values())


def subscribers(messages: Sequence[Message]) -> list[dict[str, object]]:
    """Every IMSI of the recording with the subscription that the lab gave to all."""
    imsis = {
        value for message in messages for kind, value in diameter.summarise(message).identifiers if kind.value == "imsi"
    }
    return [
        {"imsi": imsi, "k": K, "opc": OPC, "amf": AMF, "msisdn": "49170" + imsi[-7:], "apns": APNS} for imsi in imsis
    ]


def shown(message: Message) -> dict[str, object]:
    return {
        one.path: "random" if one.path.rpartition("/")[2] in RANDOM else one.value
        for one in diameter.parameters(message)
        if not one.path.startswith(IGNORED)
    }


@pytest.mark.parametrize(
    ("name", "count"), [("volte-call-full.pcap", 18), ("kamailio-ims-call.pcap", 15), ("open5gs-attach.pcap", 2)]
)
def test_it_says_what_the_recorded_hss_said(name: str, count: int, own_captures: list[Path]) -> None:
    messages = hss_messages(next(one for one in own_captures if one.name == name))
    hss = Hss(address="127.0.0.8", random=Random(1))
    context = {"ims_domain": DOMAIN, "charging_function": "pcrf", "subscribers": subscribers(messages)}
    hss.import_context(context, 0.0)
    answers = {(one.hop_by_hop, one.end_to_end): one for one in messages if not one.is_request}
    compared = 0
    for asked in (one for one in messages if one.is_request):
        on_s6a = asked.application == Application.S6A
        interface, peer = (Interface.S6A, Peer(Role.MME)) if on_s6a else (Interface.CX, Peer(Role.SCSCF))
        (output,) = hss.receive(Received(interface, peer, asked, 5), 0.0)
        assert isinstance(output, Send) and isinstance(output.message, Message)
        recorded = answers[(asked.hop_by_hop, asked.end_to_end)]
        assert shown(output.message) == shown(recorded)
        compared += 1
    assert compared == count
    assert hss.leftovers()["registered"] == 0


def test_recorded_vectors_are_those_that_our_functions_make(own_captures: list[Path]) -> None:
    functions = Milenage(bytes.fromhex(K), bytes.fromhex(OPC))
    checked = 0
    for path in own_captures:
        for message in hss_messages(path):
            group = message.find(avp.AUTHENTICATION_INFO)
            vector = group.find(avp.E_UTRAN_VECTOR) if group else None
            if vector is None:
                continue
            rand, autn = vector.value_of(avp.RAND), vector.value_of(avp.AUTN)
            assert rand is not None and autn is not None
            sqn = functions.check(rand, autn)
            assert sqn is not None
            assert autn == functions.autn(rand, sqn, bytes.fromhex(AMF))
            assert vector.value_of(avp.XRES) == functions.f2(rand)
            plmn = bytes.fromhex("99f907")
            assert vector.value_of(avp.KASME) == derive_k_asme(functions.f3(rand), functions.f4(rand), plmn, autn[:6])
            checked += 1
    assert checked > 5
