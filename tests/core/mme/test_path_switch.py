"""Path switch after a handover over X2 (TS 23.401 clause 5.5.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import nas, s1ap
from ferret.records.message import Interface, Role
from ferret_core.nf import Peer

if TYPE_CHECKING:
    from tests.core.mme.conftest import NewWorld

ENB = Peer(Role.ENB, "192.0.2.30")
TAI, ECGI = nas.Tai("00101", 1), s1ap.Ecgi("00101", 0x201)
K_ASME = bytes(range(32))


def test_a_path_switch_gives_the_next_key_of_the_chain(attached: NewWorld) -> None:
    world = attached()
    request = s1ap.path_switch_request(
        enb_ue_s1ap_id=8,
        source_mme_ue_s1ap_id=world.ids["mme_ue_s1ap_id"],
        switched=[(5, s1ap.Tunnel("192.0.2.31", 9))],
        ecgi=ECGI,
        tai=TAI,
        encryption_algorithms=0xC000,
        integrity_algorithms=0xC000,
    )
    world.give(Interface.S1_MME, Peer(Role.ENB, "192.0.2.31"), request)
    world.agree("Modify Bearer Request")
    acknowledge = world.last("PathSwitchRequestAcknowledge")
    assert acknowledge.peer.address == "192.0.2.31"
    first = nas.derive_nh(K_ASME, nas.derive_k_enb(K_ASME, 0))
    context = acknowledge.message.ie("SecurityContext")  # type: ignore[union-attr]
    assert context["nextHopParameter"][0] == int.from_bytes(nas.derive_nh(K_ASME, first), "big")
    assert context["nextHopChainingCount"] == 2
