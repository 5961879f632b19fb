"""The lab's core on real sockets with some of its NFs replaced by peers, and devices that are attached to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from random import Random
from typing import Final

from ferret.records.message import Interface, Role
from ferret.transport.sctp import SctpTransport
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.device import Cell
from ferret_core.driver.links.diameter_link import DiameterLink
from ferret_core.driver.places import CORE_ROLES, Places
from ferret_core.driver.ports import S1AP_PORT
from ferret_core.driver.user_agent import RemoteParty
from ferret_core.enb import Enb
from ferret_core.enb.driver import EnbDriver
from tests.interop.peers.process import PeerProcess, until
from tests.procedures.conftest import BOB, Scene

_SERVERS: Final = {
    Role.PCSCF: (Role.PCRF, Interface.RX),
    Role.ICSCF: (Role.HSS, Interface.CX),
    Role.SCSCF: (Role.HSS, Interface.CX),
}
Starter = Callable[[LabNetwork], AbstractAsyncContextManager[PeerProcess]]


@asynccontextmanager
async def scene_with(
    sctp: SctpTransport, network: str, *, without: Iterable[Role], peers: Iterable[Starter]
) -> AsyncIterator[Scene]:
    """The core `without` some NFs, and `peers` that are started after it; a base station and a remote party."""
    lab = LabNetwork(Places.loopback(network))
    missing = frozenset(without)
    ours = [role for role in CORE_ROLES if role not in missing]
    core = CoreSet(lab, ours, sctp=sctp, random=lambda role: Random(str(role)))
    mme = lab.places.address(Role.MME)
    enb = Enb(address=lab.places.address(Role.ENB), random=Random(1), mme=mme, plmn=lab.plmn, tac=lab.tac)
    station = EnbDriver(enb, mme=(mme, S1AP_PORT), sctp=sctp)
    remote = RemoteParty(BOB, lab.sip_address(Role.REMOTE), lab.sip_address(Role.ICSCF), Random(2))
    made = Scene(lab, core, station, Cell(station), remote)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(core)
        for start in peers:
            await stack.enter_async_context(start(lab))
        await until(lambda: all(_has_joined(core, role) for role in missing))
        try:
            await station.start()
            await remote.start()
            yield made
        finally:
            for device in made.devices:
                device.stop()
            remote.stop()
            station.stop()


def _has_joined(core: CoreSet, role: Role) -> bool:
    """Whether a peer in the place of this NF has opened its Diameter connection."""
    server, interface = _SERVERS[role]
    link = core.nfs[server].node.links[interface]
    return isinstance(link, DiameterLink) and link.is_open_to(role)
