"""What our functions say on Diameter is, to an independent decoder, well-formed."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from ferret.errors import DecodeError
from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Command, Message, avp, request
from ferret.protocols.diameter.capabilities import Identity
from ferret.protocols.diameter.peer import DiameterPeer
from ferret.protocols.diameter.peer_states import Side
from ferret.protocols.sip import sdp
from ferret.protocols.summary import Protocol
from ferret.records.message import Interface, Role
from ferret_agents.capture import reader
from ferret_core import rx
from ferret_core.hss import Hss
from ferret_core.nf import Peer, Received, Send
from ferret_core.pcrf import Pcrf, policy_from_recording

pytestmark = pytest.mark.tshark
INTERFACES = {Application.GX: Interface.GX, Application.RX: Interface.RX, Application.S6A: Interface.S6A}
KEY = "8BAFC7BFAF8FD09487CCCBD7A97C6862"
IPV4, TCP_PORT = b"\x7f\0\0\x09", 3868


def write_pcap(path: Path, messages: Sequence[bytes]) -> None:
    """Each message as a TCP segment on port 3868 over raw IPv4 (LINKTYPE_RAW)."""
    octets = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, 101)]
    sequence = 1
    for message in messages:
        tcp = struct.pack(">HHIIBBHHH", TCP_PORT, 40000, sequence, 1, 0x50, 0x18, 0xFFFF, 0, 0) + message
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + IPV4 + IPV4 + tcp
        octets.append(struct.pack("<IIII", sequence, 0, len(ip), len(ip)) + ip)
        sequence += len(message)
    path.write_bytes(b"".join(octets))


def recorded(path: Path) -> list[Message]:
    found: dict[bytes, Message] = {}
    for one in reader.messages(path):
        if one.protocol is Protocol.DIAMETER:
            try:
                found.setdefault(one.octets, diameter.decode(one.octets))
            except DecodeError:
                continue
    return list(found.values())


def said_by_functions(messages: Sequence[Message]) -> list[Message]:
    """Everything that PCRF and HSS say when they are asked what was recorded."""
    pcrf = Pcrf(address="127.0.0.9", random=Random(1))
    pcrf.import_context(policy_from_recording(messages), 0.0)
    hss = Hss(address="127.0.0.8", random=Random(1))
    imsis = {v for one in messages for kind, v in diameter.summarise(one).identifiers if kind.value == "imsi"}
    apns = [{"apn": "internet", "address": "10.0.0.1"}, {"apn": "ims", "qci": 5}]
    everybody = [{"imsi": one, "k": KEY, "op": KEY, "msisdn": "49" + one[-7:], "apns": apns} for one in imsis]
    domain = "ims.mnc070.mcc999.3gppnetwork.org"
    hss.import_context({"ims_domain": domain, "scscf": "sip:s.example", "subscribers": everybody}, 0.0)
    said = []
    for message in messages:
        if message.is_request and message.application:
            interface = INTERFACES.get(Application(message.application), Interface.CX)
            function = hss if interface in (Interface.S6A, Interface.CX) else pcrf
            outputs = function.receive(Received(interface, Peer(Role.UNKNOWN), message, 1), 0.0)
            said += [one.message for one in outputs if isinstance(one, Send) and isinstance(one.message, Message)]
    return said


def said_by_peers() -> list[bytes]:
    """CER, CEA, DWR, DWA, DPR and DPA."""
    applications = (Application.GX, Application.RX, Application.CREDIT_CONTROL, Application.RELAY)
    one = DiameterPeer(Identity("a.x", "x", ("127.0.0.1", "::1"), applications), side=Side.INITIATOR, random=Random(1))
    other = DiameterPeer(Identity("b.x", "x", ("127.0.0.2",), applications), side=Side.RESPONDER, random=Random(2))
    one.connected(0.0)
    other.connected(0.0)
    found = []
    for step in ("capabilities", "watchdog", "disconnect"):
        if step == "watchdog":
            one.wake(one.deadline() or 0.0)
        elif step == "disconnect":
            one.stop(100.0)
        for speaker, hearer in ((one, other), (other, one)):
            octets = speaker.bytes_to_send()
            hearer.receive_bytes(octets, 99.0)
            found += diameter.split(octets)[0]
    return found


def said_by_af() -> list[Message]:
    text = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\n"
    text += "m=audio 5000 RTP/AVP 0\r\nb=AS:64\r\nb=RS:1\r\nb=RR:2\r\n"
    offer, answer = (sdp.decode(text.format(address).encode()) for address in ("10.0.0.1", "10.0.0.2"))
    profile = rx.RxProfile(
        vendor_specific_application_id=True,
        af_application_identifier="IMS Services",
        authorization_lifetime=7200,
        auth_grace_period=0,
        session_timeout=7200,
        reservation_priority=0,
        specific_actions=(1, 2),
        rx_request_type=True,
        af_charging_identifier=True,
    )
    asked = rx.aar(
        profile,
        session_id="af;1;2",
        ue_address="10.0.0.1",
        offer=offer,
        answer=answer,
        ue_offered=True,
        subscription="tel:+4917",
        icid="icid",
    )
    abort = request(Command.ABORT_SESSION, Application.RX, avp.SESSION_ID("af;1;2"), avp.ABORT_CAUSE(0))
    return [asked, rx.str_(profile, session_id="af;1;2"), rx.answer_to(profile, abort, known=True)]


def test_tshark_finds_nothing_wrong(own_captures: list[Path], tmp_path: Path) -> None:
    octets = [*said_by_peers(), *[one.encode() for one in said_by_af()]]
    for path in own_captures:
        octets += [one.encode() for one in said_by_functions(recorded(path))]
    assert len(octets) > 150
    capture = tmp_path / "said.pcap"
    write_pcap(capture, octets)
    command = ["tshark", "-r", str(capture), "-T", "fields", "-E", "separator=/t"]
    command += ["-e", "diameter.cmd.code", "-e", "_ws.malformed", "-e", "_ws.expert.message"]
    rows = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    assert len(rows) == len(octets)
    for row in rows:
        code, malformed, expert = row.split("\t")
        assert code and not malformed, row
        about_diameter = [one for one in expert.split(",") if "onnection" not in one and "TCP" not in one and one]
        assert not about_diameter, row
