"""The lab's core, put together: logic, links and user plane of each NF; in one process, or some here and some there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from random import Random, SystemRandom
from time import monotonic
from typing import Final

import structlog

from ferret.errors import ConfigError
from ferret.records.message import Interface, Role
from ferret.transport.sctp import SctpTransport, choose
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.links.diameter_link import DiameterLink
from ferret_core.driver.links.gtpv2_link import Gtpv2Link
from ferret_core.driver.links.s1ap_link import S1apLink
from ferret_core.driver.links.sip_link import SipLink
from ferret_core.driver.node import CoreNode
from ferret_core.driver.packet_network import PacketNetwork
from ferret_core.driver.places import CORE_ROLES
from ferret_core.driver.socket_network import SocketNetwork
from ferret_core.driver.user_plane import UserPlane
from ferret_core.hss import Hss
from ferret_core.icscf import Icscf
from ferret_core.mme import Mme
from ferret_core.nf import NetworkFunction
from ferret_core.pcrf import Pcrf
from ferret_core.pcscf import Pcscf
from ferret_core.pgw import Pgw
from ferret_core.scscf import Scscf
from ferret_core.sgw import Sgw

log = structlog.get_logger(__name__)

_MAKERS: Final[Mapping[Role, Callable[..., NetworkFunction]]] = {
    Role.MME: Mme,
    Role.SGW: Sgw,
    Role.PGW: Pgw,
    Role.PCRF: Pcrf,
    Role.HSS: Hss,
    Role.PCSCF: Pcscf,
    Role.ICSCF: Icscf,
    Role.SCSCF: Scscf,
}

# Who speaks GTPv2-C and Diameter with whom over what.
_GTPV2: Final[Mapping[Role, Mapping[Role, Interface]]] = {
    Role.MME: {Role.SGW: Interface.S11},
    Role.SGW: {Role.MME: Interface.S11, Role.PGW: Interface.S5},
    Role.PGW: {Role.SGW: Interface.S5},
}
_DIAMETER: Final[Mapping[Role, Mapping[Role, Interface]]] = {
    Role.MME: {Role.HSS: Interface.S6A},
    Role.ICSCF: {Role.HSS: Interface.CX},
    Role.SCSCF: {Role.HSS: Interface.CX},
    Role.PGW: {Role.PCRF: Interface.GX},
    Role.PCSCF: {Role.PCRF: Interface.RX},
    Role.HSS: {Role.MME: Interface.S6A, Role.ICSCF: Interface.CX, Role.SCSCF: Interface.CX},
    Role.PCRF: {Role.PGW: Interface.GX, Role.PCSCF: Interface.RX},
}
_LISTENERS: Final = frozenset({Role.HSS, Role.PCRF})
_SIP: Final = (Role.PCSCF, Role.ICSCF, Role.SCSCF)


class CoreNf:
    """One NF of the core with everything around it. `network`: behind a PGW."""

    def __init__(
        self,
        role: Role,
        lab: LabNetwork,
        *,
        sctp: SctpTransport | None,
        network: PacketNetwork | None,
        random: Random,
        changed: asyncio.Event | None = None,
    ) -> None:
        self.role = role
        address = lab.places.address(role)
        shown = f"[{address}]" if role in _SIP and ":" in address else address  # as a SIP URI has it
        logic = _MAKERS[role](address=shown, random=random)
        logic.import_context(lab.context_of(role), monotonic())
        self.node = CoreNode(logic, changed=changed)
        self.user_plane: UserPlane | None = None
        if role in (Role.SGW, Role.PGW):
            self.user_plane = UserPlane(logic, address, network=network, emit=self.node.emit)
        self._lay_links(lab, address, sctp)

    async def start(self) -> None:
        """Open every socket of the NF. Raises TransportError."""
        await self.node.start()
        if self.user_plane is not None:
            await self.user_plane.start()

    async def stop(self) -> None:
        """Close every socket of the NF."""
        if self.user_plane is not None:
            await self.user_plane.stop()
        await self.node.stop()

    def _lay_links(self, lab: LabNetwork, address: str, sctp: SctpTransport | None) -> None:
        links, arrived = self.node.links, self.node.arrived
        if self.role in _GTPV2:
            peers = _by_address(lab, _GTPV2[self.role])
            gtpv2 = Gtpv2Link(address, peers, arrived, echo_every=lab.gtp_echo, restart_counter=lab.restart_counter)
            links.update(dict.fromkeys((interface for _, interface in peers.values()), gtpv2))
        if self.role in _DIAMETER:
            diameter = self._diameter(lab)
            links.update(dict.fromkeys(_DIAMETER[self.role].values(), diameter))
        if self.role in _SIP:
            links[Interface.MW] = self._sip(lab, address)
            links[Interface.GM] = links[Interface.MW]
        if self.role is Role.MME and sctp is not None:
            links[Interface.S1_MME] = S1apLink(sctp, address, arrived)

    def _diameter(self, lab: LabNetwork) -> DiameterLink:
        places = lab.places
        peers: dict[str, tuple[Role, Interface]] = {}
        behind = []  # NFs at the address of another: that is an agent's, through which both are reached
        for role, interface in _DIAMETER[self.role].items():
            if peers.setdefault(places.diameter_address(role), (role, interface)) != (role, interface):
                behind.append((places.diameter_address(role), role, interface))
        return DiameterLink(
            self.role,
            places.diameter_address(self.role),
            peers,
            self.node.arrived,
            listens=self.role in _LISTENERS,
            realm=lab.realm,
            tc=lab.diameter_tc,
            behind=behind,
            tls=lab.diameter_tls.get(self.role),
        )

    def _sip(self, lab: LabNetwork, address: str) -> SipLink:
        """Whoever is no NF is a UE to the P-CSCF, and a stranger to the others."""
        peers = {lab.places.address(role): role for role in _SIP}
        peers |= {one.rpartition(":")[0].strip("[]"): Role.REMOTE for one in lab.remote_domains().values()}
        others = (Role.UE, Interface.GM) if self.role is Role.PCSCF else None
        return SipLink(address, peers, self.node.arrived, others=others)


def _by_address(lab: LabNetwork, table: Mapping[Role, Interface]) -> dict[str, tuple[Role, Interface]]:
    return {lab.places.address(role): (role, interface) for role, interface in table.items()}


class CoreSet:
    """NFs of the core in this process: by default all of them.

    `network`: the packet data network behind the PGW; by default sockets of this machine (`SocketNetwork`). `random`:
    where identifiers come from; by default the system's randomness, a seeded one in tests.
    """

    def __init__(
        self,
        lab: LabNetwork,
        roles: Iterable[Role] = CORE_ROLES,
        *,
        sctp: SctpTransport | None = None,
        network: PacketNetwork | None = None,
        random: Callable[[Role], Random] | None = None,
    ) -> None:
        """Raises ConfigError for a role that the core does not have, and where there is no SCTP for the MME."""
        chosen = frozenset(roles)
        unknown = sorted(chosen - set(CORE_ROLES))
        if unknown:
            raise ConfigError(f"no NF of the core is {', '.join(unknown)}")
        self.lab = lab
        self.network = network or SocketNetwork()
        transport = sctp or (choose().transport if Role.MME in chosen else None)
        draw = random or (lambda role: SystemRandom())
        self._changed = asyncio.Event()
        self.nfs = {
            role: CoreNf(
                role,
                lab,
                sctp=transport,
                network=self.network if role is Role.PGW else None,
                random=draw(role),
                changed=self._changed,
            )
            for role in CORE_ROLES
            if role in chosen
        }

    async def __aenter__(self) -> CoreSet:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the NFs, those first that others connect to. Raises TransportError and leaves nothing open."""
        try:
            for nf in self.nfs.values():
                await nf.start()
        except BaseException:
            await self.stop()
            raise
        log.info("core_started", nfs=[str(role) for role in self.nfs])

    async def stop(self) -> None:
        """Stop every NF."""
        await asyncio.gather(*(nf.stop() for nf in self.nfs.values()), return_exceptions=True)

    def leftovers(self) -> dict[str, dict[str, int]]:
        """What each NF holds of subscribers, without zeros: {} when nothing is left."""
        held = {
            str(role): {kind: number for kind, number in nf.node.nf.leftovers().items() if number}
            for role, nf in self.nfs.items()
        }
        return {role: kinds for role, kinds in held.items() if kinds}

    async def until(self, holds: Callable[[], bool], *, within: float = 5.0) -> None:
        """Wait until something is so that the state of the NFs decides. Raises TimeoutError after `within` seconds."""
        async with asyncio.timeout(within):
            while not holds():
                self._changed.clear()
                await self._changed.wait()
