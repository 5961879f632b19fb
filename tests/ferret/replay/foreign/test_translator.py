"""Recorded messages as a foreign NF gets them: at the stand-ins' addresses, under new identifiers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

from ferret.protocols import diameter, gtpv2, sip
from ferret.protocols.diameter import avp
from ferret.protocols.gtpv2 import FTeid, IeType, Recovery
from ferret.records.message import Interface, Role, SignallingMessage
from ferret.replay.foreign.identifiers import DiameterName, diameter_names, host_map, recorded_names, sip_places
from ferret.replay.foreign.targets import read_setting
from ferret.replay.foreign.translator import ForeignTranslator

DATA = Path(__file__).parents[3] / "data"
OURS = "127.0.46."


@cache
def messages(name: str, service: str = "volte") -> tuple[SignallingMessage, ...]:
    from ferret_agents.pipeline import record_file

    recording = next(r for r in record_file(DATA / name).capture.recordings if r.service == service)
    return tuple(message for message, _ in recording.everything)


def translator(found: tuple[SignallingMessage, ...], *targets: str, seed: int = 1) -> ForeignTranslator:
    setting = read_setting(targets, identities=["pgw=smf.localdomain"])
    places = sip_places(found, setting)
    return ForeignTranslator(
        host_map(found, setting, places),
        setting,
        diameter_names(found, setting),
        beyond=host_map(found, setting, places, beyond=True),
        restart_counter=77,
        random=Random(seed),
    )


def first(found: tuple[SignallingMessage, ...], name: str, interface: Interface) -> SignallingMessage:
    return next(m for m in found if m.name == name and m.interface is interface)


def tunnels(octets: bytes) -> dict[int, FTeid]:
    message = gtpv2.decode(octets)
    assert {ie.octets for ie in message.ies if ie.type == IeType.RECOVERY} <= {Recovery(77).encode()}
    views = [FTeid.decode(ie.octets) for ie in message.ies if ie.type == IeType.F_TEID]
    return {view.interface_type: view for view in views}


def test_a_foreign_sgw_finds_mme_and_pgw_at_the_stand_ins_under_teids_of_this_replay() -> None:
    found = messages("open5gs-volte.pcap")
    asked = first(found, "Create Session Request", Interface.S11)
    one, other = (translator(found, "sgw=127.0.0.3", seed=seed) for seed in (1, 2))
    here = tunnels(one.stimulus(asked)[0])
    assert (here[10].address, here[7].address) == (f"{OURS}2", f"{OURS}4")
    assert here[7].teid == 0  # the PGW has given none yet
    recorded = {FTeid.decode(ie.octets).teid for ie in gtpv2.decode(asked.octets).ies if ie.type == IeType.F_TEID}
    assert here[10].teid not in recorded
    assert here[10].teid != tunnels(other.stimulus(asked)[0])[10].teid
    assert here == tunnels(one.stimulus(asked)[0])  # within a replay they stay
    about = gtpv2.Message(gtpv2.MessageType.CREATE_BEARER_REQUEST, here[10].teid, 1, ())
    assert one.is_ours(Interface.S11, Role.MME, about)
    assert not other.is_ours(Interface.S11, Role.MME, about)


def test_a_foreign_pcrf_is_asked_by_name_and_in_a_session_of_this_replay() -> None:
    found = messages("open5gs-volte.pcap")
    asked = first(found, "CCR-Initial", Interface.GX)
    one, other = (translator(found, "pcrf=127.0.0.9", seed=seed) for seed in (1, 2))
    for each in (one, other):
        each.met(recorded_names(found)[Role.PCRF], DiameterName("pcrf.elsewhere", "elsewhere"))
    made, again = (diameter.decode(each.stimulus(asked)[0]) for each in (one, other))
    session = made.value_of(avp.SESSION_ID) or ""
    assert session.startswith("smf.localdomain;")
    assert session != again.value_of(avp.SESSION_ID)
    assert made.value_of(avp.ORIGIN_HOST) == "smf.localdomain"
    assert made.value_of(avp.ORIGIN_REALM) == "localdomain"
    assert made.value_of(avp.DESTINATION_REALM) == "elsewhere"
    assert one.is_ours(Interface.GX, Role.PGW, made)
    assert not other.is_ours(Interface.GX, Role.PGW, made)


def test_a_foreign_p_cscf_is_registered_at_by_the_stand_in_for_the_device_without_ipsec() -> None:
    found = messages("kamailio-ims-call.pcap")
    asked = first(found, "REGISTER", Interface.GM)
    offered = sip.decode(asked.octets).append("Security-Client", "ipsec-3gpp;alg=hmac-md5-96")
    offered = offered.append("Require", "sec-agree").append("Supported", "sec-agree, path")
    message = sip.decode(_sent(translator(found, "pcscf=127.0.0.21"), asked, offered))
    recorded = sip.decode(asked.octets)
    assert sip.parse_via(message.first("Via")).host == f"{OURS}40"
    assert f"@{OURS}40:5060" in message.first("Contact")
    assert message.request_uri == recorded.request_uri  # a subscriber's domain is no host of an NF
    assert message.first("Call-ID") != recorded.first("Call-ID")
    assert not message.has("Security-Client")
    assert "sec-agree" not in (*message.values("Require"), *message.values("Supported"))
    assert "path" in message.values("Supported")


def _sent(made: ForeignTranslator, asked: SignallingMessage, changed: sip.Message) -> bytes:
    from dataclasses import replace

    octets, _ = made.stimulus(replace(asked, captured=replace(asked.captured, octets=changed.encode())))
    return octets
