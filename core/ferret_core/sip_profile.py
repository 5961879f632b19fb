"""An operator's SIP habits, read from what its CSCF did with recorded messages.

Each message that the NF sent is compared with the one that it received for it; what it always does to messages that go
one way is a habit. A profile holds constant values of the operator and forms with blanks, never an identifier that an
NF allocated, a status code, or anything that it computed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ferret.errors import DecodeError
from ferret.protocols import sip
from ferret.protocols.summary import Protocol
from ferret.records.message import Node, Role, SignallingMessage
from ferret_core.sip_policy import ANSWER_TO, Way, contact_params

# Header fields that a proxy treats by rules of their own.
_OWN_RULES = frozenset(
    {"Via", "Max-Forwards", "Route", "Record-Route", "Content-Length", "Contact", "Authorization", "WWW-Authenticate"}
)
# One message is enough to know that these are the operator's own constants.
_CONSTANTS = frozenset(
    {
        "Allow",
        "P-Charging-Function-Addresses",
        "P-Charging-Vector",
        "P-Asserted-Identity",
        "P-Called-Party-ID",
        "P-Visited-Network-ID",
        "Path",
        "Require",
        "Security-Server",
        "Server",
        "Supported",
        "User-Agent",
    }
)
_SPI = re.compile(r"(spi-([cs])\s*=\s*)\d+", re.IGNORECASE)  # security parameter indices (TS 33.203 annex H)
_PLAIN = re.compile(r"(?:[a-z]+|\d{1,2})\Z", re.ASCII)  # a parameter value that nobody allocated


@dataclass(frozen=True, slots=True)
class Seen:
    """A recorded SIP message with what it says."""

    recorded: SignallingMessage
    sip: sip.Message

    @property
    def exchange(self) -> tuple[str, str]:
        """Call-ID and CSeq: equal in a request and its answers."""
        return self.sip.first("Call-ID"), " ".join(self.sip.first("CSeq").split())


@dataclass(frozen=True, slots=True)
class Hop:
    """A message through an NF."""

    way: Way
    received: Seen
    sent: Seen


class History:
    """What one NF received and sent, as far as a recording shows it."""

    def __init__(self, messages: Iterable[SignallingMessage], role: Role) -> None:
        self.role = role
        self.received: list[Seen] = []
        self.sent: list[Seen] = []
        for one in _decoded(messages):
            if one.recorded.to_nf.role is role:
                self.received.append(one)
            if one.recorded.from_nf.role is role:
                self.sent.append(one)
        self._ways: dict[tuple[str, str], Way] = {}
        for one in self.received:
            if one.sip.is_request:
                self._ways.setdefault(one.exchange, self._way_of(one))
        self.hops = tuple(self._hops())
        paired = {id(hop.sent) for hop in self.hops}
        self.own = tuple(one for one in self.sent if id(one) not in paired)  # messages of the NF's own making

    @property
    def hosts(self) -> frozenset[str]:
        """The addresses under which the NF appears."""
        return frozenset(one.recorded.from_nf.address for one in self.sent)

    def way(self, seen: Seen) -> Way | None:
        """Which way a message went through the NF."""
        way = self._ways.get(seen.exchange)
        return ANSWER_TO.get(way) if way is not None and not seen.sip.is_request else way

    def _way_of(self, seen: Seen) -> Way:
        inner = Role.UE if self.role is Role.PCSCF else Role.PCSCF
        from_ue = seen.recorded.from_nf.role is inner
        if seen.sip.method == "REGISTER":
            return Way.REGISTER
        if sip.parse_name_addr(seen.sip.first("To")).param("tag") is not None:
            return Way.IN_DIALOG_FROM_UE if from_ue else Way.IN_DIALOG_TO_UE
        return Way.ORIGINATING if from_ue else Way.TERMINATING

    def _hops(self) -> Iterator[Hop]:
        waiting: dict[object, Seen] = {}
        for seen in self.received:
            waiting[(seen.sip.is_request, seen.sip.status, *seen.exchange, _inner_branches(seen, True))] = seen
        for seen in self.sent:
            if seen.sip.status == 100:
                continue  # hop by hop
            key = (seen.sip.is_request, seen.sip.status, *seen.exchange, _inner_branches(seen, False))
            received = waiting.get(key)
            way = self._hop_way(seen, received) if received is not None else None
            if received is not None and way is not None:
                yield Hop(way, received, seen)

    def _hop_way(self, sent: Seen, received: Seen) -> Way | None:
        if received.sip.is_request:
            return self._way_of(received)
        inner = Role.UE if self.role is Role.PCSCF else Role.PCSCF
        method = received.sip.method
        if method == "REGISTER":
            return Way.REGISTER_CHALLENGE if sent.sip.status == 401 else Way.REGISTER_ANSWER
        to_ue = sent.recorded.to_nf.role is inner
        if self._ways.get(sent.exchange) in (Way.ORIGINATING, Way.TERMINATING):
            return Way.ORIGINATING_ANSWER if to_ue else Way.TERMINATING_ANSWER
        return Way.IN_DIALOG_ANSWER_TO_UE if to_ue else Way.IN_DIALOG_ANSWER_FROM_UE


@lru_cache(maxsize=4096)
def _read(octets: bytes) -> sip.Message:
    """The same recording is read for several NFs and several purposes."""
    return sip.decode(octets)


def _decoded(messages: Iterable[SignallingMessage]) -> Iterator[Seen]:
    for one in messages:
        if one.protocol is Protocol.SIP and not one.captured.flaws:
            try:
                yield Seen(one, _read(one.octets))
            except DecodeError:
                continue


def _inner_branches(seen: Seen, received: bool) -> tuple[str, ...]:
    """The branches of the Vias that a message has on both sides of the NF."""
    branches = tuple(sip.parse_via(value).branch for value in seen.sip.values("Via"))
    return branches if received == seen.sip.is_request else branches[1:]


def sip_habits(history: History) -> dict[str, Any]:
    """The "sip" part of a profile: changes of `Policy`."""
    habits: dict[str, Any] = {"headers": header_habits(history)}
    habits |= _transport_habits(history)
    habits |= _via_habits(history) | _record_route_habits(history) | _own_answers(history)
    from_ue = [hop for hop in history.hops if _comes_from_ue(hop)]
    if from_ue and history.role is Role.PCSCF:
        contacts = [hop for hop in from_ue if hop.received.sip.has("Contact")]
        habits["contact_alias"] = any(
            ";alias=" in hop.sent.sip.first("Contact") and ";alias=" not in hop.received.sip.first("Contact")
            for hop in contacts
        )
        habits["media_relay"] = most_common(filter(None, map(_relay, from_ue)))
    names = {name for hop in history.hops if hop.sent.recorded.to_nf.role is Role.UE for name in _given_back(hop)}
    if names:
        habits["contact_params_header"] = min(names)
    return habits


def _comes_from_ue(hop: Hop) -> bool:
    return hop.received.recorded.from_nf.role is Role.UE


def _relay(hop: Hop) -> str:
    """The address that the NF put in place of the UE's; "" where it put none."""
    try:
        before, after = sip.sdp.decode(hop.received.sip.body), sip.sdp.decode(hop.sent.sip.body)
    except DecodeError:
        return ""
    return after.connection if before.connection != after.connection else ""


def _given_back(hop: Hop) -> Iterator[str]:
    """Fields that were taken off while their content went behind the Contact."""
    before, after = hop.received.sip.first("Contact"), hop.sent.sip.first("Contact")
    if before and after.startswith(f"{before};"):
        for line in hop.received.sip.headers:
            if after == f"{before};{line.value}" and not hop.sent.sip.has(line.canonical):
                yield line.canonical


# ---- header fields


def header_habits(history: History) -> dict[str, dict[str, Any]]:
    """What is always removed and set, for every way that the recording shows."""
    ways: dict[Way, list[Hop]] = defaultdict(list)
    for hop in history.hops:
        ways[hop.way].append(hop)
    return {str(way): _rule(hops, history) for way, hops in ways.items()}


def _rule(hops: Sequence[Hop], history: History) -> dict[str, Any]:
    names = {line.canonical for hop in hops for line in (*hop.received.sip.headers, *hop.sent.sip.headers)}
    remove: list[str] = []
    settings: dict[str, str] = {}
    changes: dict[str, str] = {}
    for name in sorted(names - _OWN_RULES):
        pairs = [(hop, hop.received.sip.values(name), hop.sent.sip.values(name)) for hop in hops]
        if all(not after for _, before, after in pairs if before) and any(before for _, before, _ in pairs):
            remove.append(name)
            continue
        new = [(hop, after) for hop, before, after in pairs if after and before != after]
        template = _template(name, new, history) if new else None
        if template is None:
            continue
        if all(after for _, _, after in pairs):
            settings[name] = template
        elif all(after for _, before, after in pairs if before) and all(before for _, before, after in pairs if after):
            changes[name] = template
    return {"remove": remove, "set": settings, "change": changes}


def _template(name: str, changed: Sequence[tuple[Hop, tuple[str, ...]]], history: History) -> str | None:
    """The form that all new values of a field have; None: there is none that could be told."""
    forms = Counter(_form(name, hop, ", ".join(values), history) for hop, values in changed)
    if len(forms) != 1 and name not in _CONSTANTS:
        return None
    form = forms.most_common(1)[0][0]
    transactions = {hop.sent.exchange for hop, _ in changed}
    if "{" not in form and name not in _CONSTANTS and len(transactions) < 2:
        return None
    return form


def _form(name: str, hop: Hop, value: str, history: History) -> str:
    if name == "P-Charging-Vector":
        icid = sip.charging_id(hop.sent.sip)
        value = value.replace(icid, "{icid}") if icid else value
    elif name == "P-Asserted-Identity" and not hop.received.sip.has("P-Asserted-Identity"):
        return "<{identity}>"
    elif name == "P-Called-Party-ID":
        return value.replace(hop.received.sip.request_uri, "{request_uri}")
    elif name == "Security-Server":
        value = _SPI.sub(lambda found: f"{found[1]}{{spi_{found[2].lower()}}}", value)
    elif value and value == contact_params(hop.sent.sip).split(";alias=")[0]:
        return "{contact_params}"
    for host in history.hosts:
        shown = f"[{host}]" if ":" in host else host
        value = value.replace(f"{shown}:5060", "{address}")
        value = with_blank(value, host, "{host}")
    return value


def with_blank(value: str, host: str, blank: str) -> str:
    """A value with a blank for an NF's address, with the brackets that IPv6 has in a URI (RFC 3261 clause 19.1.1)."""
    if ":" in host:
        value = value.replace(f"[{host}]", blank)
    return value.replace(host, blank)


# ---- Via, Record-Route, answers of its own


def _via_habits(history: History) -> dict[str, Any]:
    own = [sip.parse_via(hop.sent.sip.first("Via")) for hop in history.hops if hop.sent.sip.is_request]
    habits: dict[str, Any] = {}
    if own:
        habits["via_port"] = any(via.port for via in own)
        habits["via_params"] = sorted({p.name for via in own for p in via.params if p.value is None})
    forced: set[str] = set()
    tcp: set[str] = set()
    for hop in history.hops:
        if hop.sent.sip.is_request and _comes_from_ue(hop):
            before = sip.parse_via(hop.received.sip.first("Via"))
            after = sip.parse_via((*hop.sent.sip.values("Via"), "", "")[1])
            if before.param("rport") is None and after.param("rport") is not None:
                forced.add(str(hop.way))
            if before.transport == "TCP":
                own_via = sip.parse_via(hop.sent.sip.first("Via"))
                tcp |= {p.name for p in own_via.params if p.value is not None and p.name != "branch"}
    return habits | {"force_rport": sorted(forced), "via_tcp_params": sorted(tcp)}


def _transport_habits(history: History) -> dict[str, Any]:
    """Which transport the NF takes to other SIP servers, and from which length on it takes another.

    The limit is put half-way between the longest request in a datagram and the shortest in a stream, so that an edge
    NF, whose own addresses may be a little longer or shorter, decides the same.
    """
    lengths: dict[str, list[int]] = {"UDP": [], "TCP": []}
    for one in history.sent:
        if one.sip.is_request and one.recorded.to_nf.role is not Role.UE:
            lengths.setdefault(sip.parse_via(one.sip.first("Via")).transport, []).append(len(one.recorded.octets))
    datagrams, streams = lengths["UDP"], lengths["TCP"]
    if not streams:
        return {}
    if not datagrams or max(datagrams) >= min(streams):
        return {"transport": "TCP" if len(streams) > len(datagrams) else "UDP"}
    return {"transport": "UDP", "stream_above": (max(datagrams) + min(streams)) // 2}


def _record_route_habits(history: History) -> dict[str, Any]:
    forms: dict[str, dict[str, Any]] = {}
    methods: set[str] = set()
    seen: set[str] = set()
    in_dialog: list[bool] = []
    for hop in history.hops:
        if not hop.sent.sip.is_request:
            continue
        before, after = hop.received.sip.values("Record-Route"), hop.sent.sip.values("Record-Route")
        method = hop.sent.sip.method
        if hop.way in (Way.IN_DIALOG_FROM_UE, Way.IN_DIALOG_TO_UE):
            in_dialog += [len(after) > len(before)] if method in ("INVITE", "UPDATE", "SUBSCRIBE") else []
            continue
        seen.add(method)
        if len(after) > len(before):
            methods.add(method)
            form = _record_route_form(after[0], hop.sent.sip, history)
            forms[f"{hop.way} {method}"] = form
            forms.setdefault(str(hop.way), form)
    habits: dict[str, Any] = {"record_route": forms} if forms else {}
    if seen & {"INVITE", "SUBSCRIBE"}:
        habits["record_route_methods"] = sorted(methods)
    if in_dialog:
        habits["record_route_in_dialog"] = any(in_dialog)
    return habits


def _record_route_form(value: str, message: sip.Message, history: History) -> dict[str, Any]:
    uri = sip.parse_uri(sip.parse_name_addr(value).uri)
    tag = sip.parse_name_addr(message.first("From")).param("tag") or ""
    params: list[list[str | None]] = []
    for name, text in uri.params:
        if name in ("r2", "transport"):
            continue
        if text is None or _PLAIN.match(text):
            params.append([name, text])
        else:
            params.append([name, "{from_tag}" if tag and text == tag else "{random}"])
    host = "" if uri.host.strip("[]") in history.hosts else uri.host
    return {"user": uri.user, "host": host, "port": bool(uri.port), "params": params}


def _own_answers(history: History) -> dict[str, Any]:
    own = [one for one in history.own if not one.sip.is_request]
    habits: dict[str, Any] = {}
    trying = [one for one in own if one.sip.status == 100]
    if any(one.sip.is_request for one in history.received):
        habits["trying"] = sorted({one.sip.method for one in trying})
    if trying:
        habits["trying_reason"] = most_common(one.sip.reason for one in trying)
    habits["one_tag"] = _one_tag(own)
    if own:
        habits["server"] = most_common(one.sip.first("Server") for one in own)
    cancelled = [one.sip.reason for one in own if one.sip.method == "CANCEL" and one.sip.status == 200]
    if cancelled:
        habits["cancelling_reason"] = most_common(cancelled)
    agents = [one.sip.first("User-Agent") for one in history.own if one.sip.method == "NOTIFY" and one.sip.is_request]
    if agents:
        habits["user_agent"] = most_common(agents)
    return habits


def _one_tag(own: Sequence[Seen]) -> list[str]:
    """Methods whose own answers, to several Call-IDs, all have the same To tag."""
    tags: dict[str, set[str]] = defaultdict(set)
    calls: dict[str, set[str]] = defaultdict(set)
    for one in own:
        tag = sip.parse_name_addr(one.sip.first("To")).param("tag")
        if one.sip.status > 100 and tag:
            tags[one.sip.method].add(tag)
            calls[one.sip.method].add(one.sip.first("Call-ID"))
    return sorted(method for method, found in tags.items() if len(found) == 1 and len(calls[method]) > 1)


def most_common(values: Iterable[str]) -> str:
    """The value that occurs most often; "" where there is none."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else ""


# ---- names


def names_from_recording(messages: Iterable[SignallingMessage]) -> Mapping[str, Node]:
    """Which NF each host name (or "host:port") in a Route or Request-URI is: the one that the request went to.

    The caller puts the addresses of its own NFs in place of the recorded ones and gives them to `import_context`.
    """
    names: dict[str, Node] = {}
    for one in _decoded(messages):
        sender, receiver = one.recorded.from_nf.role, one.recorded.to_nf.role
        if not one.sip.is_request or sender is Role.UE or receiver in (Role.UE, Role.UNKNOWN):
            continue  # a UE sends everything to its P-CSCF, whatever the name says
        route = one.sip.first("Route")
        uri = sip.parse_uri(sip.parse_name_addr(route).uri if route else one.sip.request_uri)
        if uri.host and not _is_address(uri.host):
            if uri.port:
                names.setdefault(f"{uri.host}:{uri.port}", one.recorded.to_nf)
            names.setdefault(uri.host, one.recorded.to_nf)
    return names


def _is_address(host: str) -> bool:
    return host.startswith("[") or re.fullmatch(r"\d+(?:\.\d+){3}", host, re.ASCII) is not None
