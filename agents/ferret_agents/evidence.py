"""What messages say of the network functions that sent and received them.

Each message is evidence for what its two ends are: a Create Session Request with an S11 MME F-TEID comes from an MME
(TS 29.274 clause 8.22), an AIR from an MME and goes to an HSS (TS 29.272 clause 5), an InitialUEMessage comes from an
eNB (TS 36.413 clause 8.6). SIP shows roles only in its topology: see `sip_topology`. Ports never count.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter.constants import Application, Command
from ferret.protocols.gtpv2.constants import IeType, InterfaceType, MessageType
from ferret.protocols.summary import IdKind, Protocol
from ferret.records.message import CapturedMessage, Endpoint, Role
from ferret_agents.capture.classify import GTPC_PORT, sent_by_mme
from ferret_agents.capture.tunnel import PORT as GTPU_PORT

STRONG, WEAK = 10, 1
"""What a vote weighs: a message that only this role sends or receives; a name that hints at it."""

_ORIGIN_HOST = 264  # AVP code, RFC 6733 clause 6.3
_SERVICE_CONTEXT = 461  # AVP code, RFC 8506 clause 8.42
_BASE_COMMANDS = frozenset((Command.CAPABILITIES_EXCHANGE, Command.DEVICE_WATCHDOG, Command.DISCONNECT_PEER))

_GX = (Application.GX, Application.GX_RELEASE_6)
_RX = (Application.RX, Application.RX_RELEASE_6)
_Pair = tuple[Role | None, Role | None]
_ASKED: dict[tuple[int, int], _Pair] = {  # (application, command) -> who sends the request, who answers it
    **{(app, Command.CREDIT_CONTROL): (Role.PGW, Role.PCRF) for app in _GX},
    **{(app, Command.RE_AUTH): (Role.PCRF, Role.PGW) for app in _GX},
    **{(app, Command.AA): (Role.AF, Role.PCRF) for app in _RX},
    **{(app, Command.SESSION_TERMINATION): (Role.AF, Role.PCRF) for app in _RX},
    **{(app, Command.RE_AUTH): (Role.PCRF, Role.AF) for app in _RX},
    **{(app, Command.ABORT_SESSION): (Role.PCRF, Role.AF) for app in _RX},
    (Application.S6A, Command.AUTHENTICATION_INFORMATION): (Role.MME, Role.HSS),
    (Application.S6A, Command.UPDATE_LOCATION): (Role.MME, Role.HSS),
    (Application.S6A, Command.PURGE_UE): (Role.MME, Role.HSS),
    (Application.S6A, Command.NOTIFY): (Role.MME, Role.HSS),
    (Application.S6A, Command.CANCEL_LOCATION): (Role.HSS, Role.MME),
    (Application.S6A, Command.INSERT_SUBSCRIBER_DATA): (Role.HSS, Role.MME),
    (Application.S6A, Command.DELETE_SUBSCRIBER_DATA): (Role.HSS, Role.MME),
    (Application.S6A, Command.RESET): (Role.HSS, Role.MME),
    (Application.S13, Command.ME_IDENTITY_CHECK): (Role.MME, None),
    (Application.CX, Command.USER_AUTHORIZATION): (Role.ICSCF, Role.HSS),
    (Application.CX, Command.LOCATION_INFO): (Role.ICSCF, Role.HSS),
    (Application.CX, Command.SERVER_ASSIGNMENT): (Role.SCSCF, Role.HSS),
    (Application.CX, Command.MULTIMEDIA_AUTH): (Role.SCSCF, Role.HSS),
    (Application.CX, Command.REGISTRATION_TERMINATION): (Role.HSS, Role.SCSCF),
    (Application.CX, Command.PUSH_PROFILE): (Role.HSS, Role.SCSCF),
    (Application.SH, Command.USER_DATA): (None, Role.HSS),
    (Application.SH, Command.PROFILE_UPDATE): (None, Role.HSS),
    (Application.CREDIT_CONTROL, Command.CREDIT_CONTROL): (Role.PGW, Role.OCS),
    (Application.CREDIT_CONTROL, Command.RE_AUTH): (Role.OCS, Role.PGW),
    (Application.CREDIT_CONTROL, Command.ABORT_SESSION): (Role.OCS, Role.PGW),
}
_IMS_CHARGING = b"32260@3gpp.org"  # TS 32.260: a CSCF or AS asks, not a PGW

_S11_ONLY: dict[int, _Pair] = {  # GTPv2-C message types of S11 alone -> sender, receiver
    MessageType.RELEASE_ACCESS_BEARERS_REQUEST: (Role.MME, Role.SGW),
    MessageType.RELEASE_ACCESS_BEARERS_RESPONSE: (Role.SGW, Role.MME),
    MessageType.DOWNLINK_DATA_NOTIFICATION: (Role.SGW, Role.MME),
    MessageType.DOWNLINK_DATA_NOTIFICATION_ACKNOWLEDGEMENT: (Role.MME, Role.SGW),
    MessageType.DOWNLINK_DATA_NOTIFICATION_FAILURE_INDICATION: (Role.MME, Role.SGW),
    MessageType.CREATE_INDIRECT_DATA_FORWARDING_TUNNEL_REQUEST: (Role.MME, Role.SGW),
    MessageType.CREATE_INDIRECT_DATA_FORWARDING_TUNNEL_RESPONSE: (Role.SGW, Role.MME),
    MessageType.DELETE_INDIRECT_DATA_FORWARDING_TUNNEL_REQUEST: (Role.MME, Role.SGW),
    MessageType.DELETE_INDIRECT_DATA_FORWARDING_TUNNEL_RESPONSE: (Role.SGW, Role.MME),
}
_SENDERS: dict[int, _Pair] = {  # interface type of the sender's own control plane F-TEID -> sender, receiver
    InterfaceType.S11_MME_GTP_C: (Role.MME, Role.SGW),
    InterfaceType.S11_SGW_GTP_C: (Role.SGW, Role.MME),
    InterfaceType.S5_S8_SGW_GTP_C: (Role.SGW, Role.PGW),
    InterfaceType.S5_S8_PGW_GTP_C: (Role.PGW, Role.SGW),
}
_USER_PLANE: dict[int, Role] = {
    InterfaceType.S1_U_ENB_GTP_U: Role.ENB,
    InterfaceType.S1_U_SGW_GTP_U: Role.SGW,
    InterfaceType.S5_S8_SGW_GTP_U: Role.SGW,
    InterfaceType.S5_S8_PGW_GTP_U: Role.PGW,
}
_SGW_SENDS = frozenset((MessageType.CREATE_BEARER_REQUEST, MessageType.MODIFY_BEARER_RESPONSE))

_NAMES: tuple[tuple[re.Pattern[str], Role], ...] = tuple(
    (re.compile(rf"(?:^|[^a-z]){pattern}(?:[^a-z]|$)"), role)
    for pattern, role in (
        ("p-?cscf", Role.PCSCF),
        ("i-?cscf", Role.ICSCF),
        ("s-?cscf", Role.SCSCF),
        ("mme", Role.MME),
        ("hss", Role.HSS),
        ("pcrf", Role.PCRF),
        ("(?:pgw|smf|pcef|pgwc)", Role.PGW),
        ("ocs", Role.OCS),
    )
)


def role_in_name(name: str) -> Role | None:
    """The role that a host name speaks of: "pcscf.ims.mnc001.mcc001.3gppnetwork.org". None where it names none."""
    label = name.lower().partition("." if not name[:1].isdigit() else " ")[0]
    return next((role for pattern, role in _NAMES if pattern.search(label)), None)


class Evidence:
    """Votes of messages for the roles of transport addresses, and which of those are one NF's."""

    def __init__(self) -> None:
        self.votes: dict[Endpoint, Counter[Role]] = defaultdict(Counter)
        self.messages: Counter[Endpoint] = Counter()
        self.protocols: dict[Endpoint, set[Protocol]] = defaultdict(set)
        self.applications: dict[Endpoint, set[int]] = defaultdict(set)  # of Diameter, the base protocol apart
        self.same: list[tuple[Endpoint, Endpoint]] = []
        self.ue_addresses: set[str] = set()
        self.relays: set[str] = set()  # addresses of Diameter agents that pass messages on
        self.hosts: dict[Endpoint, str] = {}  # the Diameter identity of an endpoint
        self.origins: dict[Endpoint, set[str]] = defaultdict(set)  # Origin-Hosts that it sent
        self._prefixes: set[bytes] = set()  # of IPv6 addresses that bearers were given
        self._passed: dict[tuple[int, int, bytes], CapturedMessage] = {}

    def identities(self) -> Iterator[tuple[Endpoint, str]]:
        """Endpoints and their Diameter identities, those of relays left out: they speak in others' names."""
        for endpoint, hosts in self.origins.items():
            host = self.hosts.get(endpoint, "")
            if endpoint.address not in self.relays and len(hosts) == 1 and (not host or host in hosts):
                yield endpoint, next(iter(hosts))
        for endpoint, host in self.hosts.items():
            if endpoint.address not in self.relays and endpoint not in self.origins:
                yield endpoint, host

    def add(self, message: CapturedMessage) -> None:
        """Take what a GTPv2-C, Diameter or S1AP message says; of SIP only that it was there."""
        for end in (message.source, message.destination):
            self.messages[end] += 1
            self.protocols[end].add(message.protocol)
        if message.protocol is Protocol.GTPV2:
            self._gtpv2(message)
        elif message.protocol is Protocol.DIAMETER:
            self._diameter(message)
        elif message.protocol is Protocol.S1AP:
            from_mme = sent_by_mme(message.octets)
            if from_mme is not None:
                self._pair(message, (Role.MME, Role.ENB) if from_mme else (Role.ENB, Role.MME))

    def vote(self, endpoint: Endpoint, role: Role, weight: int) -> None:
        """One more reason to take an endpoint for a role."""
        self.votes[endpoint][role] += weight

    def _pair(self, message: CapturedMessage, roles: _Pair) -> None:
        for end, role in zip((message.source, message.destination), roles, strict=True):
            if role is not None:
                self.vote(end, role, STRONG)

    def _gtpv2(self, message: CapturedMessage) -> None:
        try:
            decoded = gtpv2.decode(message.octets)
        except DecodeError:
            return
        own = [f_teid for ie in decoded.ies if (f_teid := _f_teid(ie)) is not None]
        bearers = [f_teid for ie in decoded.ies for part in ie if (f_teid := _f_teid(part)) is not None]
        roles = _S11_ONLY.get(decoded.type) or _by_f_teids(decoded.type, own, bearers)
        if roles is not None:
            self._pair(message, roles)
            for f_teid in own:
                if _SENDERS.get(f_teid.interface_type) == roles:
                    for address in filter(None, (f_teid.ipv4, f_teid.ipv6)):
                        self.same.append((message.source, Endpoint(address, GTPC_PORT)))
        for f_teid in bearers:
            role = _USER_PLANE.get(f_teid.interface_type)
            for address in filter(None, (f_teid.ipv4, f_teid.ipv6)):
                if role is not None:
                    self.vote(Endpoint(address, GTPU_PORT), role, STRONG)
        self._ue_addresses(gtpv2.summarise(decoded).identifiers)

    def roles_at(self, address: str) -> set[Role]:
        """Every role that an endpoint of this address most likely has."""
        return {
            max(votes, key=lambda role: votes[role])
            for end, votes in self.votes.items()
            if votes and end.address == address
        }

    def is_device(self, address: str) -> bool:
        """Whether a device was given this address, or one of its /64 (TS 23.401 clause 5.3.1.2.2)."""
        return address in self.ue_addresses or (":" in address and _prefix(address) in self._prefixes)

    def _ue_addresses(self, identifiers: tuple[tuple[IdKind, str], ...]) -> None:
        for kind, value in identifiers:
            if kind is IdKind.UE_IP and value not in ("0.0.0.0", "::"):
                address = value.partition("/")[0]
                self.ue_addresses.add(address)
                if ":" in address:
                    self._prefixes.add(_prefix(address))

    def _diameter(self, message: CapturedMessage) -> None:
        try:
            decoded = diameter.decode(message.octets)
        except DecodeError:
            return
        texts = {avp.code: avp.octets for avp in decoded.avps if avp.code in (_ORIGIN_HOST, _SERVICE_CONTEXT)}
        host = texts.get(_ORIGIN_HOST, b"").lower()
        if decoded.command in _BASE_COMMANDS:
            self._identity(message.source, host.decode("utf-8", "replace"))
            return
        self._look_for_relay(message, decoded, host)
        self.origins[message.source].add(host.decode("utf-8", "replace"))
        for end in (message.source, message.destination):
            self.applications[end].add(decoded.application)
        asks, answers = _ASKED.get((decoded.application, decoded.command), (None, None))
        if asks is Role.PGW and texts.get(_SERVICE_CONTEXT, b"").endswith(_IMS_CHARGING):
            asks = None
        self._pair(message, (asks, answers) if decoded.is_request else (answers, asks))
        self._ue_addresses(diameter.summarise(decoded).identifiers)

    def _identity(self, endpoint: Endpoint, host: str) -> None:
        """CER, DWR, DPR and their answers come from the neighbour itself: its Origin-Host is its own."""
        if not host or endpoint in self.hosts:
            return
        self.hosts[endpoint] = host
        role = role_in_name(host)
        if role is not None:
            self.vote(endpoint, role, WEAK)

    def _look_for_relay(self, message: CapturedMessage, decoded: diameter.Message, host: bytes) -> None:
        """Who sends on what it received, with the same end-to-end identifier and Origin-Host, is a Diameter agent."""
        key = (decoded.end_to_end, decoded.command << 1 | decoded.is_request, host)
        before = self._passed.setdefault(key, message)
        if before is message or len(self._passed) > 1 << 16:
            return
        relay = message.source.address
        if relay == before.destination.address and before.source.address != relay != message.destination.address:
            self.relays.add(relay)


def _f_teid(ie: gtpv2.Ie) -> gtpv2.FTeid | None:
    if ie.type != IeType.F_TEID:
        return None
    try:
        return gtpv2.FTeid.decode(ie.octets)
    except DecodeError:
        return None


def _by_f_teids(kind: int, own: list[gtpv2.FTeid], bearers: list[gtpv2.FTeid]) -> _Pair | None:
    """Who sends a message to whom, by the F-TEIDs in it (TS 29.274 clause 7.2)."""
    if kind == MessageType.CREATE_SESSION_RESPONSE:
        types = {f_teid.interface_type for f_teid in own}
        sender = InterfaceType.S11_SGW_GTP_C if InterfaceType.S11_SGW_GTP_C in types else None
        if sender is None and InterfaceType.S5_S8_PGW_GTP_C in types:
            sender = InterfaceType.S5_S8_PGW_GTP_C
        return _SENDERS[sender] if sender is not None else None
    if own and kind in (MessageType.CREATE_SESSION_REQUEST, MessageType.MODIFY_BEARER_REQUEST):
        return _SENDERS.get(own[0].interface_type)
    types = {f_teid.interface_type for f_teid in bearers}
    if kind in _SGW_SENDS:
        if InterfaceType.S1_U_SGW_GTP_U in types:
            return Role.SGW, Role.MME
        if kind == MessageType.CREATE_BEARER_REQUEST and InterfaceType.S5_S8_PGW_GTP_U in types:
            return Role.PGW, Role.SGW
    elif kind in (MessageType.CREATE_BEARER_RESPONSE, MessageType.MODIFY_BEARER_REQUEST):
        if InterfaceType.S1_U_ENB_GTP_U in types:
            return Role.MME, Role.SGW
        if InterfaceType.S5_S8_SGW_GTP_U in types:
            return Role.SGW, Role.PGW
    return None


def _prefix(address: str) -> bytes:
    """The first 64 bits of an IPv6 address; nothing of any other text."""
    try:
        return IPv6Address(address).packed[:8]
    except ValueError:
        return b""


def literal(host: str) -> str:
    """An address literal in compressed text form; "" for a host name."""
    try:
        return ip_address(host.strip("[]")).compressed
    except ValueError:
        return ""
