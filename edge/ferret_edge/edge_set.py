"""The edge's NFs, put together: logic, links, user plane and replay port of each; in one process, or one each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from random import Random

import structlog
from aiohttp import web

from ferret.errors import ConfigError
from ferret.records.message import Interface, Role
from ferret.replay.rules import Rules
from ferret.transport.sctp import SctpTransport
from ferret_core.driver.links.diameter_link import DiameterLink
from ferret_core.driver.links.gtpv2_link import Gtpv2Link
from ferret_core.driver.links.link import Arrived
from ferret_core.driver.links.s1ap_link import S1apLink
from ferret_core.driver.links.sip_link import SipLink, address_of
from ferret_core.driver.packet_network import PacketNetwork
from ferret_core.driver.user_plane import UserPlane
from ferret_core.mme import Mme
from ferret_core.nf import NetworkFunction, Send
from ferret_core.pcrf import Pcrf
from ferret_core.pcscf import Pcscf
from ferret_core.pgw import Pgw
from ferret_core.scscf import Scscf
from ferret_core.sgw import Sgw
from ferret_edge.node import EdgeNode
from ferret_edge.replay_port import replay_application
from ferret_edge.site import REPLAY_PORT, Site

log = structlog.get_logger(__name__)

_MAKERS: Mapping[Role, Callable[..., NetworkFunction]] = {
    Role.MME: Mme,
    Role.SGW: Sgw,
    Role.PGW: Pgw,
    Role.PCRF: Pcrf,
    Role.PCSCF: Pcscf,
    Role.SCSCF: Scscf,
}

# Who speaks GTPv2-C with whom over what, and who opens the Diameter connection to whom.
_GTPV2: Mapping[Role, Mapping[Role, Interface]] = {
    Role.MME: {Role.SGW: Interface.S11},
    Role.SGW: {Role.MME: Interface.S11, Role.PGW: Interface.S5},
    Role.PGW: {Role.SGW: Interface.S5},
}
_DIAMETER: Mapping[Role, Mapping[Role, Interface]] = {
    Role.PGW: {Role.PCRF: Interface.GX},
    Role.PCSCF: {Role.PCRF: Interface.RX},
    Role.PCRF: {Role.PGW: Interface.GX, Role.PCSCF: Interface.RX},
}
_SIP = (Role.PCSCF, Role.SCSCF)


class EdgeNf:
    """One NF of the edge with everything around it."""

    def __init__(
        self,
        role: Role,
        *,
        site: Site,
        members: frozenset[Role],
        rules: Rules,
        seed: int,
        sctp: SctpTransport | None,
        network: PacketNetwork | None = None,
    ) -> None:
        """`network`: behind a PGW. Raises ConfigError for a role that the edge does not have."""
        if role not in _MAKERS:
            raise ConfigError(f"no edge NF is a {role}; there are {', '.join(sorted(_MAKERS))}")
        self.role = role
        self.site = site
        self.members = members
        address = site.sip_address(role)
        shown = f"[{address}]" if ":" in address else address  # as a SIP URI has it
        logic = _MAKERS[role](address=shown, random=Random(f"{seed}/{role}"))
        self.node = EdgeNode(logic, rules=rules, members=members, wire=self._is_wired)
        self._web: web.AppRunner | None = None
        self.user_plane: UserPlane | None = None
        if role in (Role.SGW, Role.PGW):
            self.user_plane = UserPlane(logic, site.address(role), network=network if role is Role.PGW else None)
        self._lay_links(sctp)

    async def start(self) -> None:
        """Open every socket of the NF. Raises TransportError."""
        await self.node.start()
        if self.user_plane is not None:
            await self.user_plane.start()
        self._web = web.AppRunner(replay_application(self.node), access_log=None)
        await self._web.setup()
        await web.TCPSite(self._web, self.site.address(self.role), REPLAY_PORT).start()

    async def stop(self) -> None:
        """Close every socket of the NF."""
        if self._web is not None:
            await self._web.cleanup()
        if self.user_plane is not None:
            await self.user_plane.stop()
        await self.node.stop()

    def _lay_links(self, sctp: SctpTransport | None) -> None:
        address = self.site.address(self.role)
        arrived = self.node.arrived
        links = self.node.links
        gtpv2 = self._neighbours(_GTPV2)
        if self.role in _GTPV2:
            link = Gtpv2Link(address, gtpv2, arrived)
            links.update(dict.fromkeys((i for _, i in gtpv2.values()), link))
        if self.role in _DIAMETER and (diameter := self._neighbours(_DIAMETER)):
            links.update(dict.fromkeys((i for _, i in diameter.values()), self._diameter(address, diameter, arrived)))
        if self.role in _SIP:
            outside = (Role.UE, Interface.GM) if self.role is Role.PCSCF else (Role.REMOTE, Interface.MW)
            peers = {self.site.sip_address(role): role for role in _SIP}
            links[Interface.MW] = SipLink(
                self.site.sip_address(self.role), peers, self.node.arrived_sip, others=outside
            )
            links[Interface.GM] = links[Interface.MW]
        if self.role is Role.MME and sctp is not None:
            links[Interface.S1_MME] = S1apLink(sctp, address, self.node.arrived_live)

    def _diameter(self, address: str, peers: Mapping[str, tuple[Role, Interface]], arrived: Arrived) -> DiameterLink:
        return DiameterLink(self.role, address, peers, arrived, listens=self.role is Role.PCRF)

    def _neighbours(self, table: Mapping[Role, Mapping[Role, Interface]]) -> dict[str, tuple[Role, Interface]]:
        """The members that this NF has a wire to in `table`, by address."""
        return {
            self.site.address(role): (role, interface)
            for role, interface in table.get(self.role, {}).items()
            if role in self.members
        }

    def _is_wired(self, output: Send) -> bool:
        """Whether a message goes to another member over a wire; otherwise it crosses the border."""
        interface, peer = output.interface, output.peer
        if interface is Interface.MW:
            return self.site.addresses().get(address_of(peer.address)[0]) in self.node.members
        if interface in (Interface.S1_MME, Interface.GM, Interface.S6A, Interface.CX):
            return False
        return interface in self.node.links and peer.role in self.node.members


class EdgeSet:
    """Several NFs of the edge in this process."""

    def __init__(
        self,
        members: Iterable[Role],
        *,
        site: Site,
        rules: Rules,
        seed: int = 0,
        sctp: SctpTransport | None = None,
        all_members: frozenset[Role] | None = None,
        network: PacketNetwork | None = None,
    ) -> None:
        """`network`: the packet data network behind the PGW; by default a sink that counts."""
        chosen = frozenset(members)
        everyone = all_members or chosen
        self.site = site
        self._make = partial(EdgeNf, site=site, members=everyone, rules=rules, seed=seed, sctp=sctp, network=network)
        self.nfs = {role: self._make(role) for role in sorted(chosen)}

    async def __aenter__(self) -> EdgeSet:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the NFs, those that listen first. Raises TransportError and leaves nothing open."""
        order = sorted(self.nfs.values(), key=lambda nf: nf.role is not Role.PCRF)
        try:
            for nf in order:
                await nf.start()
        except BaseException:
            await self.stop()
            raise
        log.info("edge_started", network=str(self.site.network), nfs=[str(role) for role in self.nfs])

    def leftovers(self) -> dict[str, dict[str, int]]:
        """What each NF holds of subscribers, without zeros: {} when nothing is left."""
        held = {
            str(role): {kind: number for kind, number in nf.node.nf.leftovers().items() if number}
            for role, nf in self.nfs.items()
        }
        return {role: kinds for role, kinds in held.items() if kinds}

    async def restart(self, role: Role) -> None:
        """Start an NF that was stopped anew: it knows nobody. Raises TransportError, ConfigError."""
        self.nfs[role] = self._make(role)
        await self.nfs[role].start()

    async def start_anew(self) -> None:
        """Start every NF anew: none knows anybody. Raises TransportError."""
        await self.stop()
        self.nfs = {role: self._make(role) for role in self.nfs}
        await self.start()

    async def stop(self) -> None:
        """Stop every NF."""
        await asyncio.gather(*(nf.stop() for nf in self.nfs.values()), return_exceptions=True)
