"""Own and foreign NFs together: edge NFs of FERRET that speak with the targets over the wire, and are replayed at too.

What an edge NF makes for a target goes there by itself and is compared at the edge NF; what the target makes for it is
seen where it arrives, and compared there in the target's name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network
from typing import Final

from ferret.errors import ConfigError
from ferret.protocols.diameter.capabilities import Capabilities
from ferret.records.message import Interface, Role
from ferret.replay.foreign.identifiers import DiameterName
from ferret.replay.foreign.targets import ForeignSetting
from ferret.replay.port import Command, Report
from ferret.replay.rules import Rules
from ferret_core.driver.links.diameter_link import DiameterLink
from ferret_core.nf import Failed, Input, Received, Send
from ferret_deploy.foreign.port import ForeignPort
from ferret_edge.context import EdgeContext
from ferret_edge.edge_set import EdgeSet
from ferret_edge.node import EdgeNode
from ferret_edge.site import Site

_INSTEAD: Final = {Role.PCSCF: Role.AF}  # as which a recording without SIP shows it
_POLL = 0.05  # seconds between looks at a Diameter connection that the target opens


@dataclass(frozen=True, slots=True)
class MixedSite(Site):
    """The edge NFs' addresses, and the targets' in place of those that are not at the edge."""

    foreign: Mapping[Role, str] = field(default_factory=dict)

    def address(self, role: Role) -> str:
        """The address of the NF of this role, whoever's it is."""
        return self.foreign.get(role) or Site.address(self, role)


def mixed_site(setting: ForeignSetting) -> MixedSite:
    """Edge NFs where stand-ins would be. Raises ConfigError where these share one address, or a port is another's."""
    if setting.stand_ins.alone:
        raise ConfigError("edge NFs beside targets need a /24 of their own: --local CIDR")
    return MixedSite(
        IPv4Network(setting.stand_ins.network), {target.role: target.address for target in setting.targets}
    )


class EdgePort:
    """The replay port of an edge NF in this process."""

    def __init__(self, node: EdgeNode, reported: Callable[[Report], None]) -> None:
        self._node = node
        self._reported = reported

    async def send(self, command: Command) -> None:
        """Have the NF execute it."""
        self._node.execute(command, self._reported)


class Mixture:
    """The edge NFs of one replay. `wait`: seconds until targets that connect by themselves must have done so.

    `seed`: another one each time, since a target still knows the identifiers of the last edge.
    """

    def __init__(
        self,
        roles: frozenset[Role],
        site: MixedSite,
        rules: Rules,
        names: Mapping[Role, DiameterName],
        *,
        seed: int,
        wait: float,
    ) -> None:
        self.roles = roles
        members = roles | frozenset(site.foreign)
        self.edge = EdgeSet(roles, site=site, rules=rules, seed=seed, all_members=members)
        self._site = site
        self._names = {role: name for role in roles if (name := names.get(role) or names.get(_INSTEAD.get(role, role)))}
        self._wait = wait
        for role, name in self._names.items():
            for link in self._diameter(role):
                link.call_itself(name.host, name.realm)

    async def start(self) -> None:
        """Start the NFs. Raises TransportError, ConfigError where a target does not connect: nothing is open then."""
        await self.edge.start()
        try:
            async with asyncio.timeout(self._wait):
                while missing := self._unconnected():  # noqa: ASYNC110 - a link has no event for it
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            await self.edge.stop()
            raise ConfigError(f"no Diameter connection of {missing} with the edge's PCRF") from None
        except BaseException:
            await self.edge.stop()
            raise

    async def stop(self) -> None:
        """Stop the NFs."""
        await self.edge.stop()

    def names_into(self, context: EdgeContext) -> None:
        """Have what the edge NFs say in Diameter agree with the names that are on the wire, of both ends."""
        for role, name in self._names.items():
            origin = {"origin_host": name.host, "origin_realm": name.realm}
            there = self._target_of(role)
            if there is not None:
                origin["destination_realm"] = there.realm
            if role is Role.PGW:
                context.give(role, origin)
            elif role is Role.PCRF:
                context.give(role, {"identity": {"host": name.host, "realm": name.realm}})
            elif role is Role.PCSCF:
                profile = dict(context.by_role.get(role, {}).get("profile", {}))
                if there is not None and profile.get("rx", {}).get("destination_host"):
                    origin["destination_host"] = there.host
                context.give(role, {"profile": {**profile, "rx": {**profile.get("rx", {}), **origin}}})

    def _target_of(self, role: Role) -> Capabilities | None:
        """What a target that an edge NF has a Diameter connection with has said of itself."""
        said = (link.said_by(target) for link in self._diameter(role) for target in self._site.foreign)
        return next((one for one in said if one is not None), None)

    def _diameter(self, role: Role) -> list[DiameterLink]:
        links = dict.fromkeys(self.edge.nfs[role].node.links.values())
        return [link for link in links if isinstance(link, DiameterLink)]

    def ports(self, targets: Mapping[Role, ForeignPort], reported: Callable[[Report], None]) -> dict[Role, EdgePort]:
        """The edge NFs' ports; the targets' are told what passes between them and the edge."""
        for role, nf in self.edge.nfs.items():
            nf.node.tap = partial(self._passed, role, targets)
        return {role: EdgePort(nf.node, reported) for role, nf in self.edge.nfs.items()}

    def _passed(self, role: Role, targets: Mapping[Role, ForeignPort], event: Input | Send) -> None:
        peer = event.peer.role
        if isinstance(event, (Received, Send)) and event.interface is Interface.MW:
            host = event.peer.address.rpartition(":")[0] or event.peer.address
            peer = self._site.addresses().get(host, peer)
        port = targets.get(peer)
        if port is None:
            return
        match event:
            case Send(message=message, token=token, reply_to=reply_to):
                port.edge_sent(role, message, 0 if reply_to else token)
            case Received(interface=interface, message=message, transaction=transaction):
                port.edge_received(interface, role, message, transaction)
            case Failed(token=token, reason=reason):
                port.edge_failed(role, token, reason)

    def _unconnected(self) -> str:
        """The targets that have yet to connect to the edge's PCRF."""
        pcrf = self.edge.nfs.get(Role.PCRF)
        clients = {Role.PGW: Interface.GX, Role.PCSCF: Interface.RX}
        missing = [
            role
            for role, interface in clients.items()
            if pcrf is not None and role in self._site.foreign and not _is_open(pcrf.node, interface, role)
        ]
        return ", ".join(missing)


def _is_open(node: EdgeNode, interface: Interface, role: Role) -> bool:
    link = node.links.get(interface)
    return isinstance(link, DiameterLink) and link.is_open_to(role)
