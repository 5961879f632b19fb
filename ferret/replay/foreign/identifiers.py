"""What the recorded NFs around a target were called and where they were, and what stands for them now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final, NamedTuple

from ferret.errors import DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import avp
from ferret.protocols.summary import Protocol
from ferret.records.message import Endpoint, Node, Role, SignallingMessage
from ferret.replay.foreign.targets import ForeignSetting

SIP_PORT: Final = 5060  # RFC 3261 clause 19.1.2
_BY_NAME: Final = (Role.ICSCF, Role.SCSCF, Role.PCSCF, Role.REMOTE, Role.UE)  # first those that are found by name
_NAMED: Final = frozenset({Role.PCSCF, Role.ICSCF, Role.SCSCF})
_UNNAMED_REALM: Final = "ferret.invalid"  # RFC 2606: never a name that somebody else has


class DiameterName(NamedTuple):
    """Origin-Host and Origin-Realm."""

    host: str
    realm: str


def diameter_names(messages: Iterable[SignallingMessage], setting: ForeignSetting) -> dict[Role, DiameterName]:
    """What each NF that speaks Diameter calls itself: as it is told to, else as recorded."""
    recorded = recorded_names(messages)
    told = {
        role: DiameterName(host, host.partition(".")[2] or _UNNAMED_REALM)
        for role, host in setting.stand_ins.identities.items()
    }
    if Role.PCSCF in told:
        told.setdefault(Role.AF, told[Role.PCSCF])
    return {**recorded, **told}


def recorded_names(messages: Iterable[SignallingMessage]) -> dict[Role, DiameterName]:
    """What each recorded NF called itself first."""
    names: dict[Role, DiameterName] = {}
    for message in messages:
        role = message.from_nf.role
        if message.protocol is not Protocol.DIAMETER or role in names:
            continue
        try:
            decoded = diameter.decode(message.octets)
            host, realm = decoded.value_of(avp.ORIGIN_HOST), decoded.value_of(avp.ORIGIN_REALM)
        except DecodeError:
            continue
        if host and realm:
            names[role] = DiameterName(host, realm)
    return names


def unnamed(role: Role) -> DiameterName:
    """A name for a stand-in of which neither recording nor operator gives one."""
    return DiameterName(f"{str(role).lower().replace('-', '')}.{_UNNAMED_REALM}", _UNNAMED_REALM)


def sip_places(
    messages: Iterable[SignallingMessage], setting: ForeignSetting, own: frozenset[Role] = frozenset()
) -> dict[Role, Endpoint]:
    """Where each stand-in that speaks SIP is: on the protocol's own port, or the next one where it is taken.

    In the other party's half of a call there is an NF of a target's role too. `own`: roles that edge NFs have.
    """
    taken: set[Endpoint] = set()
    places: dict[Role, Endpoint] = {}
    seen = dict.fromkeys(n.role for m in messages if m.protocol is Protocol.SIP for n in (m.from_nf, m.to_nf))
    for role in [role for role in _BY_NAME if role in seen and role not in own]:
        host, port = setting.stand_ins.address(role), setting.stand_ins.port(role, SIP_PORT)
        while Endpoint(host, port) in taken or any((t.address, t.port) == (host, port) for t in setting.targets):
            port += 1
        taken.add(Endpoint(host, port))
        places[role] = Endpoint(host, port)
    return places


def host_map(
    messages: Iterable[SignallingMessage],
    setting: ForeignSetting,
    places: Mapping[Role, Endpoint],
    *,
    beyond: bool = False,
) -> dict[str, str]:
    """Recorded addresses and names of SIP NFs, base stations and targets, and those that hold now.

    A device is where its stand-in is only towards a P-CSCF; farther inside, it keeps its recorded address. `beyond`: as
    seen from the other party's half, where stand-ins have the targets' roles too.
    """
    hosts: dict[str, str] = {}
    listed = list(messages)
    for message in listed:
        ends = ((message.from_nf, message.captured.source), (message.to_nf, message.captured.destination))
        for node, endpoint in ends:
            if message.protocol is Protocol.SIP:
                now = _sip_place(node, setting, places, beyond)
                if now is not None:
                    hosts.update(_with_ports(node, endpoint, now, hosts))
            elif message.protocol is Protocol.S1AP:
                here = setting.target(node.role).address if node.role in setting.roles else ""
                hosts.setdefault(node.address, here or setting.stand_ins.address(node.role))
    hosts.update(_names(listed, hosts))
    return hosts


def _sip_place(node: Node, setting: ForeignSetting, places: Mapping[Role, Endpoint], beyond: bool) -> Endpoint | None:
    """What stands for a recorded SIP NF or device; None: itself."""
    if node.role in setting.roles and not beyond:
        target = setting.target(node.role)
        return Endpoint(target.address, target.port)
    if node.role is Role.UE and Role.PCSCF not in setting.roles:
        return None
    return places.get(node.role)


def _with_ports(node: Node, endpoint: Endpoint, now: Endpoint, known: Mapping[str, str]) -> dict[str, str]:
    """The recorded address, or its ports where several NFs share it. What is known stays."""
    if not node.port:
        return {node.address: known.get(node.address, str(now))}
    written = [str(Endpoint(node.address, port)) for port in (node.port, endpoint.port)]
    return {text: known.get(text, str(now)) for text in written}


def _names(messages: Iterable[SignallingMessage], hosts: Mapping[str, str]) -> dict[str, str]:
    """Host names in routes, as the recorded requests went (RFC 3263 without DNS); never a subscriber's domain."""
    names: dict[str, str] = {}
    domains: set[str] = set()
    for message in messages:
        if message.protocol is not Protocol.SIP:
            continue
        try:
            request = sip.decode(message.octets)
            domains.update(sip.parse_uri(sip.parse_name_addr(request.first(n)).uri).host for n in ("From", "To"))
            routes = request.values("Route")
            target = sip.parse_uri(sip.parse_name_addr(routes[0]).uri if routes else request.request_uri)
        except DecodeError:
            continue
        to = message.to_nf
        if not request.is_request or to.role not in _NAMED or message.from_nf.role is Role.UE or _literal(target.host):
            continue
        now = hosts.get(str(Endpoint(to.address, to.port))) if to.port else hosts.get(to.address)
        if now is not None:
            names.setdefault(f"{target.host}:{target.port}" if target.port else target.host, now)
    return {name: now for name, now in names.items() if name.partition(":")[0] not in domains}


def _literal(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
