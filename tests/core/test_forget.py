"""An NF that forgets a subscriber holds nothing of him, and of others what it held."""

from __future__ import annotations

from random import Random

from ferret.protocols import sip
from ferret.records.message import Interface, Role
from ferret_core.nf import Peer, Received
from ferret_core.pcscf import Pcscf
from ferret_core.scscf import Scscf

_IMSI, _OTHER = "001010000000001", "001010000000002"


def _registrations(*imsis: str) -> dict[str, object]:
    return {
        "registrations": [
            {
                "impi": f"{imsi}@ims.example",
                "impus": [f"sip:{imsi}@ims.example"],
                "contact": f"<sip:{imsi}@10.0.0.{imsi[-1]}:5060>",
                "ue_address": f"10.0.0.{imsi[-1]}:5060",
            }
            for imsi in imsis
        ]
    }


def _register(call_id: str) -> Received:
    headers = [
        ("Via", "SIP/2.0/UDP 10.0.0.21;branch=z9hG4bK1"),
        ("From", f"<sip:{_IMSI}@ims.example>;tag=1"),
        ("To", f"<sip:{_IMSI}@ims.example>"),
        ("Call-ID", call_id),
        ("CSeq", "1 REGISTER"),
        ("Contact", "<sip:a@10.0.0.1:5060>"),
        ("Max-Forwards", "70"),
    ]
    message = sip.request("REGISTER", "sip:ims.example", headers)
    return Received(Interface.MW, Peer(Role.ICSCF, "10.0.0.19:5060"), message)


def test_a_pcscf_forgets_one_registration_and_keeps_the_other() -> None:
    pcscf = Pcscf(address="10.0.0.21", random=Random(1))
    pcscf.import_context(_registrations(_IMSI, _OTHER), 0.0)
    pcscf.forget(_IMSI, (), 1.0)
    assert [one.impi for one in pcscf.registrations.values()] == [f"{_OTHER}@ims.example"]


def test_an_scscf_forgets_who_waits_for_the_hss() -> None:
    scscf = Scscf(address="10.0.0.20", random=Random(1))
    scscf.receive(_register("one"), 0.0)
    assert scscf.leftovers()["waiting"] == 1
    scscf.forget(_IMSI, ("another",), 1.0)
    assert scscf.leftovers()["waiting"] == 1
    scscf.forget(_IMSI, ("one",), 1.0)
    assert not any(scscf.leftovers().values())
    assert scscf.receive(_register("one"), 2.0)  # no retransmission any more


def test_to_forget_whom_one_does_not_know_does_nothing() -> None:
    for nf in (Pcscf(address="10.0.0.21", random=Random(1)), Scscf(address="10.0.0.20", random=Random(1))):
        assert list(nf.forget(_IMSI, ("one",), 0.0)) == []
