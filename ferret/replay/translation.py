"""The map from the identifiers of a recording to those that the edge uses, and back.

Rules:

- One map per domain (TEID, Session-Id, Call-ID, ...). Inside a domain a value is known within a *scope*: a TEID belongs
  to the NF that allocated it (TS 29.274 clause 8.22), a charging rule's name to its Gx session.
- A mapping is one-to-one and stays for the session. The first one wins; what contradicts it is reported.
- Transient domains (sequence numbers, hop-by-hop identifiers) are reused by their protocols: the newest mapping holds.
- Addresses and host names may come together: two NFs of the recording can be one NF at the edge.
- A value that says "none allocated yet" (TEID 0, an unspecified address) is never mapped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeAlias

from ferret.errors import ConfigError

Value: TypeAlias = str | int

SNAPSHOT_VERSION = 1


class Domain(StrEnum):
    """What kind of identifier a mapping is for. The value is the name that rule files use."""

    TEID = "teid"
    TEID_U = "teid_u"
    ADDRESS = "address"  # of an NF; also "address:port"
    HOST = "host"  # a name that NFs are reached by: Diameter identity, SIP domain with host part
    UE_IP = "ue_ip"
    SESSION_ID = "session_id"
    HOP_BY_HOP = "hop_by_hop"
    END_TO_END = "end_to_end"
    SEQUENCE = "sequence"
    MME_UE_S1AP_ID = "mme_ue_s1ap_id"
    ENB_UE_S1AP_ID = "enb_ue_s1ap_id"
    M_TMSI = "m_tmsi"
    BRANCH = "branch"
    TAG = "tag"
    CALL_ID = "call_id"
    ICID = "icid"
    SIP_URI = "sip_uri"
    SDP_ADDRESS = "sdp_address"
    SDP_PORT = "sdp_port"
    SDP_SESSION = "sdp_session"
    CHARGING_ID = "charging_id"
    RULE_NAME = "rule_name"
    NONCE = "nonce"
    ORIGIN_HOST = "origin_host"
    ORIGIN_REALM = "origin_realm"
    EBI = "ebi"


TRANSIENT = frozenset({Domain.SEQUENCE, Domain.HOP_BY_HOP, Domain.END_TO_END})
MERGING = frozenset(
    {
        Domain.ADDRESS,
        Domain.HOST,
        Domain.ORIGIN_HOST,
        Domain.ORIGIN_REALM,
        Domain.SIP_URI,
        Domain.SDP_ADDRESS,
        Domain.SDP_PORT,
        Domain.SDP_SESSION,
    }
)
NUMERIC = frozenset(
    {
        Domain.TEID,
        Domain.TEID_U,
        Domain.HOP_BY_HOP,
        Domain.END_TO_END,
        Domain.SEQUENCE,
        Domain.MME_UE_S1AP_ID,
        Domain.ENB_UE_S1AP_ID,
        Domain.M_TMSI,
        Domain.CHARGING_ID,
        Domain.SDP_PORT,
        Domain.EBI,
    }
)
ADDRESSES = frozenset({Domain.ADDRESS, Domain.UE_IP, Domain.SDP_ADDRESS})
NAMES = frozenset({Domain.HOST, Domain.ORIGIN_HOST, Domain.ORIGIN_REALM})  # compared without regard to case
NEVER_ZERO = frozenset({Domain.TEID, Domain.TEID_U, Domain.SDP_PORT})

_HOST_TOKEN = re.compile(
    r"(?<![0-9A-Fa-f:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z:])"  # a bare IPv6 address
    r"|(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5}(?![0-9A-Za-z]|\.\d))?"
)


class Pair(NamedTuple):
    """What one parameter's two values say about the translation."""

    domain: Domain
    recorded: Value
    edge: Value
    recorded_scope: str = ""
    edge_scope: str = ""
    parameter: str = ""  # path of the parameter that said it
    risk: str = "medium"  # of contradicting the translation there


class Inconsistency(NamedTuple):
    """A pair that contradicts what was known before it."""

    pair: Pair
    known_recorded: Value  # what was known: this recorded value ...
    known_edge: Value  # ... is this one at the edge

    def __str__(self) -> str:
        pair = self.pair
        known = f"{self.known_recorded} -> {self.known_edge}"
        return f"{pair.domain} {pair.recorded} -> {pair.edge}, although {known} is known"


class _Key(NamedTuple):
    domain: Domain
    scope: str
    value: Value


class Translation:
    """One session's translation. Not safe for use by several threads."""

    __slots__ = ("_backward", "_forward", "_has_hosts")

    def __init__(self, hosts: Mapping[str, str] | None = None) -> None:
        """`hosts`: recorded address, name or either with ":port" -> that of the edge; see `seed`."""
        self._forward: dict[_Key, _Key] = {}
        self._backward: dict[_Key, _Key] = {}
        self._has_hosts = False
        self.seed(hosts or {})

    def __len__(self) -> int:
        return len(self._forward)

    def seed(self, hosts: Mapping[str, str]) -> None:
        """Say where the recorded NFs are at the edge: "172.22.0.3" -> "127.0.0.3", "scscf.ims.example:6060" -> ..."""
        for recorded, edge in hosts.items():
            self._put(_Key(Domain.HOST, "", _text_host(recorded)), _Key(Domain.HOST, "", _text_host(edge)))

    def learn(self, pairs: Iterable[Pair]) -> list[Inconsistency]:
        """Take over what a comparison found; return what contradicts the translation (which then stays as it was)."""
        faults = []
        for pair in pairs:
            fault = self._learn(pair)
            if fault is not None:
                faults.append(fault)
        return faults

    def edge(self, domain: Domain, value: Value, scope: str = "") -> Value | None:
        """What the edge uses for `value` of the recording; None if that is not known."""
        found = self._forward.get(_Key(domain, scope, canonical(domain, value)))
        if found is not None:
            return found.value
        if domain in ADDRESSES or domain in NAMES:
            if scope:
                return self.edge(domain, value)
            return self._seeded(value)
        return None

    def learnt(self, domain: Domain, value: Value, scope: str = "") -> Value | None:
        """Like `edge`, but only from pairs: an NF's address that was seeded says nothing of other uses of it."""
        found = self._forward.get(_Key(domain, scope, canonical(domain, value)))
        return None if found is None else found.value

    def recorded(self, domain: Domain, value: Value, scope: str = "") -> Value | None:
        """What the recording used where the edge uses `value`; None if that is not known."""
        found = self._backward.get(_Key(domain, scope, canonical(domain, value)))
        if found is None and scope and (domain in ADDRESSES or domain in NAMES):
            return self.recorded(domain, value)
        if found is None and domain is not Domain.HOST and (domain in ADDRESSES or domain in NAMES):
            found = self._backward.get(_Key(Domain.HOST, "", _text_host(str(value))))
        return None if found is None else found.value

    def endpoint(self, host: str, port: int = 0) -> tuple[str, int]:
        """Where the edge has what the recording had at `host` and `port` (0: none given); the same if not known."""
        if port:
            exact = self._seeded(_join(host, port))
            if exact is not None:
                return _split(str(exact), port)
        found = self._seeded(host)
        return (host, port) if found is None else _split(str(found), port)

    def text(self, value: str) -> str:
        """`value` with every host (with or without port) and UE address of the recording replaced by the edge's."""
        if not self._has_hosts:
            return value
        return _HOST_TOKEN.sub(self._replace_host, value)

    def forget(self, domain: Domain, value: Value, scope: str = "") -> None:
        """Release a mapping whose identifier has been released, so that its value may be given out anew."""
        key = _Key(domain, scope, canonical(domain, value))
        found = self._forward.pop(key, None)
        if found is not None and self._backward.get(found) == key:
            del self._backward[found]

    def snapshot(self) -> dict[str, Any]:
        """Everything, as JSON knows it."""
        return {
            "version": SNAPSHOT_VERSION,
            "mappings": [
                [str(key.domain), key.scope, key.value, edge.scope, edge.value] for key, edge in self._forward.items()
            ],
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> Translation:
        """What `snapshot` gave, as a translation again. Raises ConfigError where it is not one."""
        if snapshot.get("version") != SNAPSHOT_VERSION:
            raise ConfigError(f"translation snapshot of version {snapshot.get('version')!r}, not {SNAPSHOT_VERSION}")
        made = cls()
        try:
            for domain, scope, value, edge_scope, edge_value in snapshot["mappings"]:
                kind = Domain(domain)
                made._put(_Key(kind, scope, value), _Key(kind, edge_scope, edge_value))
        except (KeyError, TypeError, ValueError) as fault:
            raise ConfigError(f"translation snapshot is damaged: {fault}") from fault
        return made

    def _learn(self, pair: Pair) -> Inconsistency | None:
        domain = pair.domain
        key = _Key(domain, pair.recorded_scope, canonical(domain, pair.recorded))
        edge = _Key(domain, pair.edge_scope, canonical(domain, pair.edge))
        if says_none(domain, key.value) or says_none(domain, edge.value):
            return None
        known = self._forward.get(key)
        if known == edge:
            return None
        if domain in TRANSIENT:
            self._forget_both(key, edge)
        elif known is not None:
            return Inconsistency(pair, key.value, known.value)
        elif domain not in MERGING and edge in self._backward:
            return Inconsistency(pair, self._backward[edge].value, edge.value)
        self._put(key, edge)
        return None

    def _forget_both(self, key: _Key, edge: _Key) -> None:
        old_edge = self._forward.pop(key, None)
        if old_edge is not None:
            self._backward.pop(old_edge, None)
        old_key = self._backward.pop(edge, None)
        if old_key is not None:
            self._forward.pop(old_key, None)

    def _put(self, key: _Key, edge: _Key) -> None:
        self._forward[key] = edge
        self._backward.setdefault(edge, key)
        self._has_hosts = self._has_hosts or key.domain in (Domain.HOST, Domain.UE_IP)

    def _seeded(self, value: Value) -> Value | None:
        found = self._forward.get(_Key(Domain.HOST, "", _text_host(str(value))))
        return None if found is None else found.value

    def _replace_host(self, match: re.Match[str]) -> str:
        token = match.group()
        host, port = _split(token.lower(), 0)
        edge_host, edge_port = self.endpoint(host, port)
        if edge_host == host:
            edge_host = str(self.edge(Domain.UE_IP, host) or host)
        if (edge_host, edge_port) == (host, port):
            return token
        bracketed = f"[{edge_host}]" if ":" in edge_host and (edge_port or token[0] == "[") else edge_host
        return f"{bracketed}:{edge_port}" if edge_port else bracketed


def canonical(domain: Domain, value: Value) -> Value:
    """`value` as the maps know it: numbers as int ("0x0a" is 10), addresses compressed, host names in lower case."""
    if domain in NUMERIC:
        return _number(value, 16 if domain is Domain.CHARGING_ID else 0)
    if domain in ADDRESSES:
        return _address(str(value))
    if domain in NAMES:
        return str(value).lower()
    return str(value)


def says_none(domain: Domain, value: Value) -> bool:
    """Whether a canonical value means that nothing has been allocated."""
    if domain in NEVER_ZERO:
        return value == 0
    if domain in ADDRESSES:
        return value in ("0.0.0.0", "::", "")
    return value == ""


def teid_scope(interface_type: int, address: str) -> str:
    """The scope of a TEID: its F-TEID's interface type (TS 29.274 clause 8.22) and the address of its owner.

    The type is part of it because all NFs of a capture may share one address.
    """
    return f"{interface_type}/{_address(address)}"


def _number(value: Value, base: int) -> Value:
    """`base` 16: Diameter carries as four octets in hex (TS 29.212 clause 4.5.2) what GTPv2-C has as a number."""
    if isinstance(value, int):
        return value
    try:
        return int(value, base)
    except ValueError:
        return value


def _address(text: str) -> str:
    """An IPv6 address in compressed form without brackets; anything else in lower case."""
    if ":" in text:
        try:
            return ip_address(text.strip("[]")).compressed
        except ValueError:
            pass
    return text.lower()


def _text_host(text: str) -> str:
    host, port = _split(text.lower(), 0)
    return _join(host, port)


def _split(text: str, port: int) -> tuple[str, int]:
    """Host and port of "host", "host:port", "[v6]:port" or a bare IPv6 address; `port` where the text has none."""
    head, colon, tail = text.rpartition(":")
    if colon and tail.isdecimal() and (":" not in head or head.endswith("]")):
        return _address(head), int(tail)
    return _address(text), port


def _join(host: str, port: int) -> str:
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
