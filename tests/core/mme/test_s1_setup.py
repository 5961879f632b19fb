"""S1 Setup, Reset, and base stations that are lost (TS 36.413 clause 8.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.protocols import s1ap
from ferret.records.message import Interface, Role
from ferret_core.nf import Peer, PeerLost

if TYPE_CHECKING:
    from tests.core.mme.conftest import NewWorld

IMSI = "001010000000001"
ENB, SGW = Peer(Role.ENB, "192.0.2.30"), Peer(Role.SGW, "192.0.2.3")


def test_a_base_station_of_another_plmn_is_refused(new_world: NewWorld) -> None:
    world = new_world(served_gummeis=[{"plmns": ["00102"], "group_ids": [1], "mme_codes": [1]}])
    world.set_up()
    failure = world.last("S1SetupFailure").message
    assert isinstance(failure, s1ap.Message)
    assert failure.ie("Cause") == ("misc", "unknown-PLMN")
    assert not world.mme.enbs


def test_a_lost_base_station_leaves_its_devices_idle(attached: NewWorld) -> None:
    world = attached()
    world.take(world.mme.receive(PeerLost(Interface.S1_MME, ENB, "association lost"), 1.0))
    assert world.mme.by_imsi[IMSI].ecm == "ECM-IDLE"
    assert world.mme.leftovers()["pdn_connections"] == 1
    world.last("Release Access Bearers Request")  # so that the SGW keeps what comes for it, and has it paged


def test_reset_of_one_connection_is_acknowledged_with_it(attached: NewWorld) -> None:
    world = attached()
    pairs = [(world.ids["mme_ue_s1ap_id"], 5)]
    world.enb(s1ap.reset(cause=s1ap.Cause("misc", "om-intervention"), connections=pairs))
    acknowledge = world.last("ResetAcknowledge").message
    assert acknowledge == s1ap.reset_acknowledge(connections=pairs)
    assert world.mme.by_imsi[IMSI].ecm == "ECM-IDLE"
