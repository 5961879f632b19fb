"""The emulated device's NAS: what it accepts, what it discards, how it answers (TS 24.301)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import LocalMisuseError
from ferret.protocols import nas
from ferret.protocols.nas import (
    Direction,
    EpsQos,
    Guti,
    MessageType,
    Milenage,
    NasSecurityContext,
    PdnAddress,
    SecurityHeader,
    build_emm,
    build_esm,
    encode_apn,
)
from ferret.protocols.s1ap import Tunnel
from ferret_core.enb import EmmState, ImportedBearer, ImportedUe, Ue, Usim

IMSI = "001010000000001"
KEY, OPC = bytes(range(16)), bytes(range(16, 32))
CIPHERED = SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED


def context(ciphering: int = 2) -> NasSecurityContext:
    return NasSecurityContext(bytes(range(32)), 2, ciphering, 1, uplink_count=7, downlink_count=300)


def attached(security: NasSecurityContext | None) -> Ue:
    enb, sgw = Tunnel("127.0.9.30", 1), Tunnel("127.0.9.3", 2)
    bearers = (
        ImportedBearer(5, enb, sgw, address="10.45.0.2", apn="internet"),
        ImportedBearer(6, enb, sgw, linked_ebi=5, qci=1),
    )
    return Ue.taken_over(ImportedUe(IMSI, 1, 10, security, bearers, m_tmsi=0xABCD))


def modify_request(ebi: int = 6) -> bytes:
    kind = MessageType.MODIFY_EPS_BEARER_CONTEXT_REQUEST
    return build_esm(kind, ebi=ebi, pti=0, values={"New EPS QoS": EpsQos(2).encode()}).octets


@pytest.mark.parametrize("ciphering", [0, 2])
def test_a_modification_is_accepted_with_the_next_uplink_count(ciphering: int) -> None:
    network, ue = context(ciphering), attached(context(ciphering))
    answer = ue.receive(network.protect(modify_request(), CIPHERED, Direction.DOWNLINK))
    (uplink,) = answer.uplink
    plain, verified = network.unprotect(nas.decode(uplink), Direction.UPLINK)
    assert verified
    assert plain is not None
    assert (plain.name, plain.ebi, plain.pti) == ("Modify EPS bearer context accept", 6, 0)
    assert uplink[5] == 7
    assert (network.uplink_count, network.downlink_count) == (8, 301)
    assert ue.security is not None
    assert (ue.security.uplink_count, ue.security.downlink_count) == (8, 301)
    assert ue.esm.bearers[6].qci == 2


def test_a_wrong_mac_is_silently_discarded_and_moves_no_count() -> None:
    network, ue = context(), attached(context())
    octets = bytearray(network.protect(modify_request(), CIPHERED, Direction.DOWNLINK))
    octets[2] ^= 1
    answer = ue.receive(bytes(octets))
    assert answer.uplink == ()
    assert [note.event for note in answer.notes] == ["nas_message_discarded"]
    assert ue.security is not None
    assert (ue.security.uplink_count, ue.security.downlink_count) == (7, 300)
    assert ue.esm.bearers[6].qci == 1


def test_an_unprotected_message_is_discarded_once_keys_are_in_use() -> None:
    ue = attached(context())
    assert ue.receive(modify_request()).uplink == ()
    request = build_emm(MessageType.AUTHENTICATION_REQUEST, {"RAND": bytes(16), "AUTN": bytes(16)}).octets
    assert ue.receive(request).uplink == ()
    assert ue.discarded == 2


def test_a_repeated_message_is_discarded() -> None:
    network, ue = context(), attached(context())
    octets = network.protect(modify_request(), CIPHERED, Direction.DOWNLINK)
    assert ue.receive(octets).uplink
    assert not ue.receive(octets).uplink
    assert ue.discarded == 1


def test_a_device_without_known_keys_answers_unprotected_and_says_so() -> None:
    ue = attached(None)
    for octets in (modify_request(), context(0).protect(modify_request(), CIPHERED, Direction.DOWNLINK)):
        answer = ue.receive(octets)
        message = nas.decode(answer.uplink[0])
        assert (message.header, message.name) == (SecurityHeader.PLAIN, "Modify EPS bearer context accept")
        assert [note.event for note in answer.notes] == ["nas_not_verified"]


def test_what_only_keys_could_read_is_discarded_without_them() -> None:
    ue = attached(None)
    assert ue.receive(context(2).protect(modify_request(), CIPHERED, Direction.DOWNLINK)).uplink == ()


def test_an_unknown_bearer_is_refused_but_its_deactivation_accepted() -> None:
    ue = attached(None)
    refused = nas.decode(ue.receive(modify_request(ebi=9)).uplink[0]).plain
    assert refused is not None
    assert (refused.name, refused.number("ESM cause")) == ("Modify EPS bearer context reject", 43)
    kind = MessageType.DEACTIVATE_EPS_BEARER_CONTEXT_REQUEST
    off = build_esm(kind, ebi=9, pti=0, values={"ESM cause": 36}).octets
    assert nas.decode(ue.receive(off).uplink[0]).name == "Deactivate EPS bearer context accept"


def test_bearers_are_activated_and_deactivated_with_their_default_bearer() -> None:
    ue = attached(None)
    kind = MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST
    values: dict[str, bytes | int] = {
        "EPS QoS": EpsQos(5).encode(),
        "Access point name": encode_apn("ims"),
        "PDN address": PdnAddress(1, "10.46.0.2").encode(),
    }
    ue.receive(build_esm(kind, ebi=7, pti=3, values=values).octets)
    assert (ue.esm.bearers[7].apn, ue.esm.bearers[7].address) == ("ims", "10.46.0.2")
    kind = MessageType.ACTIVATE_DEDICATED_EPS_BEARER_CONTEXT_REQUEST
    dedicated = {"Linked EPS bearer identity": 7, "EPS QoS": EpsQos(1).encode(), "TFT": b"\x20"}
    answer = ue.receive(build_esm(kind, ebi=8, pti=0, values=dedicated).octets)
    assert nas.decode(answer.uplink[0]).name == "Activate dedicated EPS bearer context accept"
    assert (ue.esm.bearers[8].linked_ebi, ue.esm.bearers[8].qci) == (7, 1)
    answer = ue.receive(build_esm(kind, ebi=9, pti=0, values={**dedicated, "Linked EPS bearer identity": 8}).octets)
    assert nas.decode(answer.uplink[0]).name == "Activate dedicated EPS bearer context reject"
    kind = MessageType.DEACTIVATE_EPS_BEARER_CONTEXT_REQUEST
    ue.receive(build_esm(kind, ebi=7, pti=0, values={"ESM cause": 36}).octets)
    assert sorted(ue.esm.bearers) == [5, 6]


class Network:
    """Just enough of an MME's NAS for an attach."""

    def __init__(self, sqn: int = 0x20) -> None:
        self.milenage = Milenage(KEY, OPC)
        self.rand = bytes(range(100, 116))
        self.sqn = sqn
        self.security: NasSecurityContext | None = None

    def challenge(self) -> bytes:
        autn = self.milenage.autn(self.rand, self.sqn.to_bytes(6, "big"), b"\x80\x00")
        values: dict[str, bytes | int] = {"NAS key set identifier": 1, "RAND": self.rand, "AUTN": autn}
        return build_emm(MessageType.AUTHENTICATION_REQUEST, values).octets

    def security_mode(self, capability: bytes = b"\xa0\x20") -> bytes:
        autn = self.milenage.autn(self.rand, self.sqn.to_bytes(6, "big"), b"\x80\x00")
        ck, ik = self.milenage.f3(self.rand), self.milenage.f4(self.rand)
        k_asme = nas.derive_k_asme(ck, ik, nas.identities.plmn_octets("00101"), autn[:6])
        self.security = NasSecurityContext(k_asme, 2, 2, 1)
        values: dict[str, bytes | int] = {
            "Selected NAS security algorithms": 0x22,
            "NAS key set identifier": 1,
            "Replayed UE security capabilities": capability,
            "IMEISV request": 1,
        }
        plain = build_emm(MessageType.SECURITY_MODE_COMMAND, values).octets
        header = SecurityHeader.INTEGRITY_PROTECTED_NEW_CONTEXT
        return self.security.protect(plain, header, Direction.DOWNLINK)

    def accept(self) -> bytes:
        bearer = build_esm(
            MessageType.ACTIVATE_DEFAULT_EPS_BEARER_CONTEXT_REQUEST,
            ebi=5,
            pti=1,
            values={
                "EPS QoS": EpsQos(9).encode(),
                "Access point name": encode_apn("internet"),
                "PDN address": PdnAddress(1, "10.45.0.2").encode(),
            },
        )
        values: dict[str, bytes | int] = {
            "EPS attach result": 1,
            "T3412 value": 0x23,
            "TAI list": b"\x00\x00\xf1\x10\x00\x01",
            "ESM message container": bearer.octets,
            "GUTI": Guti("00101", 2, 1, 0xC0FFEE).encode(),
        }
        assert self.security is not None
        return self.security.protect(build_emm(MessageType.ATTACH_ACCEPT, values).octets, CIPHERED, Direction.DOWNLINK)

    def read(self, octets: bytes) -> nas.Plain:
        if self.security is None:
            plain = nas.decode(octets).plain
        else:
            plain, verified = self.security.unprotect(nas.decode(octets), Direction.UPLINK)
            assert verified
        assert plain is not None
        return plain


def new_device(sqn: int = 0) -> Ue:
    return Ue(IMSI, usim=Usim(IMSI, Milenage(KEY, OPC), sqn=sqn))


def test_a_device_attaches_with_aka_and_security_mode() -> None:
    network, ue = Network(), new_device()
    request = network.read(ue.attach("internet"))
    assert request.name == "Attach request"
    (response,) = ue.receive(network.challenge()).uplink
    assert network.read(response).get("Authentication response parameter") == network.milenage.f2(network.rand)
    (complete,) = ue.receive(network.security_mode()).uplink
    assert network.read(complete).get("IMEISV") is not None
    assert network.security is not None
    information = build_esm(MessageType.ESM_INFORMATION_REQUEST, ebi=0, pti=1).octets
    (answer,) = ue.receive(network.security.protect(information, CIPHERED, Direction.DOWNLINK)).uplink
    assert network.read(answer).get("Access point name") == encode_apn("internet")
    output = ue.receive(network.accept())
    done = network.read(output.uplink[0])
    assert (done.name, done.esm.name if done.esm else "") == (
        "Attach complete",
        "Activate default EPS bearer context accept",
    )
    assert ue.state is EmmState.REGISTERED
    assert ue.guti == Guti("00101", 2, 1, 0xC0FFEE)
    assert ue.esm.bearers[5].address == "10.45.0.2"
    assert network.read(ue.connect_pdn("ims")).name == "PDN connectivity request"
    assert network.read(ue.disconnect_pdn(5)).name == "PDN disconnect request"
    assert network.read(ue.detach()).name == "Detach request"
    assert ue.state is EmmState.DEREGISTERED_INITIATED
    accept = build_emm(MessageType.DETACH_ACCEPT, {}).octets
    ue.receive(network.security.protect(accept, CIPHERED, Direction.DOWNLINK))
    assert ue.state is EmmState.DEREGISTERED
    assert ue.esm.bearers == {}


def test_a_false_network_and_an_old_sequence_number_are_refused() -> None:
    network, ue = Network(), new_device()
    ue.attach()
    forged = bytearray(network.challenge())
    forged[-1] ^= 1
    failure = nas.decode(ue.receive(bytes(forged)).uplink[0]).plain
    assert failure is not None
    assert (failure.name, failure.number("EMM cause")) == ("Authentication failure", 20)
    late = new_device(sqn=0x100)
    late.attach()
    failure = nas.decode(late.receive(network.challenge()).uplink[0]).plain
    assert failure is not None
    assert failure.number("EMM cause") == 21
    assert failure.get("Authentication failure parameter") == network.milenage.auts(
        network.rand, bytes(4) + b"\x01\x00"
    )


def test_a_bidding_down_is_noticed() -> None:
    network, ue = Network(), new_device()
    ue.attach()
    ue.receive(network.challenge())
    (answer,) = ue.receive(network.security_mode(capability=b"\x80\x80")).uplink
    assert nas.decode(answer).name == "Security mode reject"


def test_a_security_mode_command_with_other_keys_is_discarded() -> None:
    network, ue = Network(), new_device()
    ue.attach()
    ue.receive(network.challenge())
    other = Network()
    other.rand = bytes(16)
    assert ue.receive(other.security_mode()).uplink == ()
    assert ue.security is None


def test_orders_in_the_wrong_state_are_refused() -> None:
    ue = new_device()
    for order in (ue.detach, ue.request_service, lambda: ue.connect_pdn("ims")):
        with pytest.raises(LocalMisuseError):
            order()
    ue.attach()
    with pytest.raises(LocalMisuseError):
        ue.attach()
    with pytest.raises(LocalMisuseError):
        attached(None).request_service()


def test_a_service_request_has_a_short_mac_that_the_network_verifies() -> None:
    network, ue = context(), attached(context())
    assert network.unprotect(nas.decode(ue.request_service()), Direction.UPLINK) == (None, True)


def test_a_rejected_attach_leaves_the_device_detached() -> None:
    ue = new_device()
    ue.attach()
    notes = ue.receive(build_emm(MessageType.ATTACH_REJECT, {"EMM cause": 3}).octets).notes
    assert [note.event for note in notes] == ["ue_rejected"]
    assert ue.state is EmmState.DEREGISTERED


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_whatever_the_network_sends_the_device_survives(octets: bytes) -> None:
    for ue in (attached(None), attached(context()), replaced(new_device())):
        ue.receive(octets)
        ue.receive(b"\x07" + octets)
        ue.receive(b"\x52" + octets)


def replaced(ue: Ue) -> Ue:
    ue.attach("internet")
    return ue


def test_keys_do_not_show() -> None:
    imported = ImportedUe(IMSI, 1, security=context())
    assert bytes(range(32)).hex() not in repr(replace(imported))
    assert "k_asme" not in repr(imported)
