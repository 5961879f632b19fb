"""Which service each message belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from ferret.records.message import Interface
from ferret.records.recorder import Capture
from ferret.records.recording import Recording

CALLER, CALLEE = "999700000000020", "999700000000021"


def names(recording: Recording, interface: Interface) -> Counter[str]:
    """How often each message of an interface is in a recording; S1AP without its NAS."""
    messages = [entry.message for entry in recording.entries if entry.message.interface is interface]
    return Counter(
        message.name.partition(" (")[0] if interface is Interface.S1_MME else message.name for message in messages
    )


def recording(capture: Capture, subscriber: str, service: str) -> Recording:
    """The first recording of a service."""
    return next(r for r in capture.recordings if (r.subscriber, r.service, r.number) == (subscriber, service, 1))


@pytest.mark.parametrize("subscriber", [CALLER, CALLEE])
def test_a_call_is_everything_that_its_invite_causes(recorded: Callable[[str], Capture], subscriber: str) -> None:
    call = recording(recorded("volte-call-full.pcap"), subscriber, "volte")
    assert names(call, Interface.RX) == {"AAR": 4, "AAA": 4, "STR": 1, "STA": 1}
    assert names(call, Interface.GX) == {"RAR": 5, "RAA": 5}
    for interface in (Interface.S5, Interface.S11):
        assert names(call, interface) == {
            f"{what} Bearer {kind}": 2 if what == "Update" else 1
            for what in ("Create", "Update", "Delete")
            for kind in ("Request", "Response")
        }
    assert names(call, Interface.S1_MME) == {
        "E-RABSetupRequest": 1,
        "E-RABSetupResponse": 1,
        "E-RABModifyRequest": 2,
        "E-RABModifyResponse": 2,
        "E-RABReleaseCommand": 1,
        "E-RABReleaseResponse": 1,
        "UplinkNASTransport": 4,
    }


def test_the_caller_is_asked_for_at_the_hss_in_the_callees_recording(recorded: Callable[[str], Capture]) -> None:
    capture = recorded("volte-call-full.pcap")
    assert names(recording(capture, CALLEE, "volte"), Interface.CX) == {"LIR": 1, "LIA": 1}
    assert names(recording(capture, CALLER, "volte"), Interface.CX) == {}
    assert names(recording(capture, CALLEE, "sms"), Interface.CX) == {"LIR": 1, "LIA": 1}


def test_an_attach_holds_its_default_bearer(recorded: Callable[[str], Capture]) -> None:
    attach = recording(recorded("open5gs-attach.pcap"), "999700000000001", "attach")
    assert names(attach, Interface.S6A) == {"AIR": 1, "AIA": 1, "ULR": 1, "ULA": 1}
    assert names(attach, Interface.S5) == {"Create Session Request": 1, "Create Session Response": 1}
    assert names(attach, Interface.GX) == {"CCR-Initial": 1, "CCA-Initial": 1}


def test_a_call_whose_rx_comes_from_an_af_without_sip_is_a_call_too(recorded: Callable[[str], Capture]) -> None:
    call = recording(recorded("open5gs-volte.pcap"), "999700000000002", "volte")
    assert names(call, Interface.RX) == {"AAR": 3, "AAA": 3, "STR": 1, "STA": 1}
    assert names(call, Interface.S11)["Update Bearer Request"] == 2


def test_a_busy_call_has_no_bearer(recorded: Callable[[str], Capture]) -> None:
    busy = recording(recorded("volte-multi-6.pcap"), "999700000000729", "volte")
    assert "486 (INVITE)" in names(busy, Interface.MW)
    assert not names(busy, Interface.S11)


def test_going_idle_and_coming_back_are_one_time_each(recorded: Callable[[str], Capture]) -> None:
    capture = recorded("open5gs-idle-paging.pcap")
    idle = [r for r in capture.recordings if r.service == "idle" and r.subscriber.endswith("101")]
    assert [names(r, Interface.S11)["Release Access Bearers Request"] for r in idle] == [1, 1]
    assert [names(r, Interface.S1_MME)["Paging"] for r in idle] == [1, 2]


def test_the_context_of_a_call_is_attach_pdn_connections_and_registration(recorded: Callable[[str], Capture]) -> None:
    call = recording(recorded("volte-call-full.pcap"), CALLER, "volte")
    services = {service for entry in call.context for service in entry.message.services}
    assert services == {"attach", "pdn:internet", "pdn:ims", "registration"}
    assert max(e.message.index for e in call.context) < call.entries[0].message.index
    assert all(subscriber in (CALLER,) for entry in call.context for subscriber in entry.message.subscribers)
