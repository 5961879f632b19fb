"""What each edge NF is told before a replay because no message of the recording could let it compute it.

Two kinds: the operator's configuration and habits (policy, header rules, names), and context that the recording does
not hold because it began too late (a default bearer, a registration). Never an identifier that an NF allocates, never a
cause or result. Everything is said in the verdict, as `assumed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from ferret.errors import DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.summary import Protocol
from ferret.records.message import Node, Role, SignallingMessage
from ferret.replay.plan import Plan
from ferret.transport.endpoint import text
from ferret_core.mme import recorded_profile as mme_profile
from ferret_core.pcrf import recording as pcrf_recording
from ferret_core.pcscf import profile as pcscf_profile
from ferret_core.pgw import recorded_profile as pgw_profile
from ferret_core.scscf import profile as scscf_profile
from ferret_core.sgw import recorded_profile as sgw_profile
from ferret_edge.late_start import late_start
from ferret_edge.site import SIP_PORT, Site

# What an NF routes by Request-URI leaves for whoever serves the domain, also beyond the network.
_ROUTING = (Role.ICSCF, Role.SCSCF)
# What NAS protection puts around a message (TS 24.301 clause 9.1): nobody can make it without the device's keys.
_KEYLESS = (
    "**/NAS/Security header type",
    "**/NAS/Message authentication code",
    "**/NAS/Sequence number",
    "**/NAS/ciphered",
)


@dataclass(slots=True)
class EdgeContext:
    """`by_role`: what each NF's `import_context` gets. `assumed`: the same in words, a line each."""

    imsi: str = ""  # by which the edge knows the subscriber
    by_role: dict[Role, dict[str, Any]] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    excused: dict[str, str] = field(default_factory=dict)  # pattern on a parameter → why it cannot be as recorded
    bearers: tuple[Mapping[str, Any], ...] = ()  # that the device is taken to have had before the recording

    def give(self, role: Role, values: Mapping[str, Any], assumed: str = "") -> None:
        """Tell `role` these values; empty ones say nothing."""
        told = {key: value for key, value in values.items() if value not in (None, [], {}, ())}
        if told:
            self.by_role.setdefault(role, {}).update(told)
            if assumed:
                self.assumed.append(assumed)


def context_for(
    plan: Plan, site: Site, enb_address: str = "", capture: Sequence[SignallingMessage] = ()
) -> EdgeContext:
    """The context of a plan. `capture`: everything recorded with it, which shows more of the operators' habits.

    `enb_address`: of the emulated base station that stands in for the device's.
    """
    own = [step.message for step in plan.steps]
    seen = list(capture) or own
    context = EdgeContext()
    if Role.MME in plan.members:
        given = mme_profile.profile_from_recording(seen)
        context.give(Role.MME, given, f"MME configuration: {len(given)} settings, read from what it sent")
        context.give(Role.MME, {"sgw_address": site.address(Role.SGW), "pgw_address": site.address(Role.PGW)})
    if Role.SGW in plan.members:
        context.give(Role.SGW, sgw_profile.profile_from_recording(seen))
    if Role.PGW in plan.members:
        given = pgw_profile.profile_from_recording(seen)
        context.give(Role.PGW, given, f"PGW configuration: {', '.join(sorted(given))}, read from what it sent")
    if Role.PCRF in plan.members:
        policy = pcrf_recording.policy_from_recording(list(_diameter(seen)))
        context.give(Role.PCRF, policy, "PCRF policy: what the recorded rules authorise for the media asked for")
    _give_sip(context, plan, site, seen, own)
    _give_late_start(context, plan, enb_address)
    return context


def _give_late_start(context: EdgeContext, plan: Plan, enb_address: str) -> None:
    """A device that attached before the recording began, and the address that it has."""
    late = late_start(plan, enb_address)
    context.imsi = late.imsi
    context.assumed += late.assumed
    if late.ue_context is None:
        return
    context.give(Role.MME, {"ue_contexts": [late.ue_context]})
    context.excused.update(dict.fromkeys(_KEYLESS, "the recording holds no keys of the device, so NAS is unprotected"))
    context.bearers = tuple(late.ue_context.get("bearers", ()))
    addresses = {b["apn"]: b["paa"] for b in late.ue_context.get("bearers", ()) if b.get("paa")}
    reserved = context.by_role.get(Role.PGW, {}).get("paa", {})
    context.give(Role.PGW, {"paa": {**reserved, late.imsi: addresses}} if addresses else {})


def _give_sip(
    context: EdgeContext, plan: Plan, site: Site, seen: Sequence[SignallingMessage], own: Sequence[SignallingMessage]
) -> None:
    """Names, peers, habits and registrations of the CSCFs."""
    names, peers = sip_names(plan, site, seen), sip_peers(plan, site, seen)
    for role, reader in ((Role.PCSCF, pcscf_profile), (Role.SCSCF, scscf_profile)):
        if role not in plan.members:
            continue
        context.give(role, {"names": names, "peers": peers})
        profile = reader.profile_from_recording(seen)
        context.give(
            role, {"profile": profile}, f"{role} habits: which headers it adds, removes and how it writes them"
        )
        registrations = reader.context_from_recording(own).get("registrations", [])
        whose = ", ".join(uri for registration in registrations for uri in registration["impus"])
        context.give(role, {"registrations": registrations}, f"{role} registration of {whose}: not in the recording")


def sip_names(plan: Plan, site: Site, messages: Iterable[SignallingMessage]) -> dict[str, str]:
    """Which NF each host of a Route or Request-URI is, as the recorded requests went (RFC 3263 without DNS)."""
    names: dict[str, str] = {}
    for message in messages:
        # A UE sends everything to its P-CSCF, whatever the Request-URI says (TS 24.229 clause 5.1.1.2.1).
        beyond = (Role.UE, Role.UNKNOWN) if message.from_nf.role in _ROUTING else (Role.UE, Role.REMOTE, Role.UNKNOWN)
        if message.protocol is not Protocol.SIP or message.to_nf.role in beyond or message.from_nf.role is Role.UE:
            continue
        try:
            request = sip.decode(message.octets)
            if not request.is_request:
                continue
            routes = request.values("Route")
            target = sip.parse_uri(sip.parse_name_addr(routes[0]).uri if routes else request.request_uri)
        except DecodeError:
            continue
        if not is_literal(target.host) or message.to_nf.role in plan.members:
            host = f"{target.host}:{target.port}" if target.port else target.host
            names.setdefault(host, _transport_address(message.to_nf, plan, site))
    return names


def is_literal(host: str) -> bool:
    """Whether a host is an address, which stands for itself."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def sip_peers(plan: Plan, site: Site, messages: Iterable[SignallingMessage]) -> dict[str, str]:
    """The role of every SIP NF, by transport address: the edge's, and the recorded ones that stay outside."""
    peers: dict[str, str] = {}
    for message in messages:
        if message.protocol is not Protocol.SIP:
            continue
        for node in (message.from_nf, message.to_nf):
            if node.role not in (Role.UE, Role.UNKNOWN):
                peers[text((node.address, node.port or SIP_PORT))] = str(node.role)
    for role in (Role.PCSCF, Role.SCSCF):
        if role in plan.members:
            peers[text((site.sip_address(role), SIP_PORT))] = str(role)
    return peers


def _transport_address(node: Node, plan: Plan, site: Site) -> str:
    if node.role in plan.members:
        return text((site.sip_address(node.role), SIP_PORT))
    return text((node.address, node.port or SIP_PORT))


def _diameter(messages: Iterable[SignallingMessage]) -> Iterable[diameter.Message]:
    for message in messages:
        if message.protocol is Protocol.DIAMETER:
            try:
                yield diameter.decode(message.octets)
            except DecodeError:
                continue
