"""Which SIP entity is what: the UE, P-CSCF, I-CSCF or S-CSCF, or somebody beyond.

TS 23.228 clause 5: a REGISTER goes UE → P-CSCF → I-CSCF → S-CSCF, each adding a Via (RFC 3261 clause 16.6). The P-CSCF
is the UE's only neighbour; the S-CSCF neighbours the P-CSCF in every other request; the I-CSCF stays out of dialogs.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import NamedTuple

from ferret.protocols import sip
from ferret.records.message import CapturedMessage, Endpoint, Role
from ferret_agents.evidence import STRONG, WEAK, Evidence, literal, role_in_name

_SENT_BY = re.compile(r"^\s*SIP\s*/\s*2\.0\s*/\s*(\w+)\s+(\[[0-9A-Fa-f:.]+\]|[^\s;:,]+)\s*(?::\s*(\d+))?")
_URI_HOST = re.compile(r"sips?:(?:[^@>\s]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s;:>?,]+)", re.IGNORECASE)
_DEFAULT_PORT = 5060
_LIKELY = 5  # between STRONG and WEAK: topology that a strange network could also show


class _Fact(NamedTuple):
    """What matters of one SIP request."""

    source: Endpoint
    destination: Endpoint
    method: str
    call: str  # Call-ID and CSeq
    depth: int  # how many Via it has
    in_dialog: bool
    from_device: bool  # it looks as if a device had made it
    to_target: bool  # it goes straight to the address in its Request-URI


class SipTopology:
    """Collects SIP messages, then votes for the roles of those who sent and received them."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._requests: list[_Fact] = []
        self._tunnels: list[tuple[CapturedMessage, bool]] = []
        self._neighbours: dict[Endpoint, set[Endpoint]] = defaultdict(set)
        self._aliases: dict[Endpoint, Endpoint] = {}  # a client port -> what its Via says is the server's

    def add(self, message: CapturedMessage) -> None:
        """Take a SIP message. One that cannot be read says nothing."""
        head = message.octets[: message.octets.find(b"\r\n\r\n") + 2 or None]
        seen = sip.peek(message.octets)
        if seen is None:
            return
        vias = _header_values(head, b"via", b"v")
        source, destination = message.source, message.destination
        self._neighbours[source].add(destination)
        self._neighbours[destination].add(source)
        if message.tunnel:
            self._tunnels.append((message, not head.startswith(b"SIP/")))
        if head.startswith(b"SIP/"):
            return
        if vias:
            self._sent_by(source, vias[0])
        line = head[: head.find(b"\n")].decode("latin-1")
        target = _URI_HOST.search(line)
        contact = _URI_HOST.search(",".join(_header_values(head, b"contact", b"m")))
        own_contact = contact is not None and literal(contact[1]) == source.address
        to = ",".join(_header_values(head, b"to", b"t"))
        registers = seen.type == "REGISTER" and not _header_values(head, b"path", b"path")
        access = b"\np-access-network-info" in head.lower()
        self._requests.append(
            _Fact(
                source,
                destination,
                seen.type,
                seen.correlation,
                len(vias),
                ";tag=" in to.lower(),
                len(vias) == 1 and (registers or (own_contact and access)),
                target is not None and literal(target[1]) == destination.address,
            )
        )

    def vote(self) -> None:
        """Vote, once every message has been taken and the addresses of devices from bearers are known."""
        self._find_devices()
        proxies = self._find_proxies()
        if self._find_called_devices(proxies):
            proxies = self._find_proxies()
        self._follow_registers()
        self._follow_dialogs(proxies)
        self._place_the_rest()

    def _sent_by(self, source: Endpoint, via: str) -> None:
        """The topmost Via names its sender: its server port, and perhaps its role."""
        match = _SENT_BY.match(via)
        if match is None:
            return
        role = role_in_name(match[2])
        if role is not None:
            self._evidence.vote(source, role, WEAK)
        server = Endpoint(source.address, int(match[3] or _DEFAULT_PORT))
        if literal(match[2]) == source.address and server != source and server.port < 65_536:
            self._aliases[source] = server

    def _is_device(self, endpoint: Endpoint) -> bool:
        return self._evidence.is_device(endpoint.address) or (self._evidence.votes[endpoint].get(Role.UE, 0) >= _LIKELY)

    def _find_devices(self) -> None:
        """Addresses of devices: from bearers, from the eNB's end of a tunnel, and of those who register."""
        evidence = self._evidence
        base_stations = {
            end.address
            for end, votes in list(evidence.votes.items())
            if votes and votes.most_common(1)[0][0] is Role.ENB
        }
        for message, _ in self._tunnels:
            outer_source, outer_destination = message.tunnel[0].address, message.tunnel[-1].address
            if outer_source in base_stations and outer_destination not in base_stations:
                evidence.ue_addresses.add(message.source.address)
            elif outer_destination in base_stations and outer_source not in base_stations:
                evidence.ue_addresses.add(message.destination.address)
        known = self._known_server_addresses()
        for fact in self._requests:
            if fact.from_device and fact.source.address not in known:
                evidence.vote(fact.source, Role.UE, STRONG)
        if self._tunnels and not evidence.ue_addresses:
            self._devices_by_tunnel_alone()

    def _find_called_devices(self, proxies: set[Endpoint]) -> bool:
        """Devices that never answer: a P-CSCF sends to the very address that a device has registered."""
        senders = {fact.source for fact in self._requests}
        found = False
        for fact in self._requests:
            called = fact.source in proxies and fact.to_target and fact.destination not in senders
            if called and not self._is_device(fact.destination):
                self._evidence.vote(fact.destination, Role.UE, STRONG)
                found = True
        return found

    def _known_server_addresses(self) -> set[str]:
        """Addresses that REGISTERs were sent to, which a device's never is."""
        return {fact.destination.address for fact in self._requests if fact.method == "REGISTER"} - {
            fact.source.address for fact in self._requests if fact.method == "REGISTER" and fact.depth == 1
        }

    def _devices_by_tunnel_alone(self) -> None:
        """Nothing names the eNB: the device is the end that registers, or else that has fewer neighbours."""
        for message, is_request in self._tunnels:
            source, destination = message.source, message.destination
            if self._is_device(source) or self._is_device(destination):
                continue
            fewer = len(self._neighbours[source]) <= len(self._neighbours[destination])
            device = source if fewer and is_request else destination
            self._evidence.ue_addresses.add(device.address)

    def _find_proxies(self) -> set[Endpoint]:
        """P-CSCFs: what devices speak to."""
        proxies: set[Endpoint] = set()
        for one, others in list(self._neighbours.items()):
            if self._is_device(one):
                continue
            devices = [other for other in others if self._is_device(other)]
            if devices:
                self._evidence.vote(one, Role.PCSCF, STRONG * len(devices))
                proxies.add(one)
        return proxies | {self._aliases[one] for one in proxies if one in self._aliases}

    def _follow_registers(self) -> None:
        """The way of each REGISTER, by its Via: the last one that gets it is the S-CSCF, one before it the I-CSCF."""
        ways: dict[str, dict[int, _Fact]] = defaultdict(dict)
        for fact in self._requests:
            if fact.method == "REGISTER" and not self._is_device(fact.source):
                ways[fact.call].setdefault(fact.depth, fact)
        entries: set[Endpoint] = set()  # where a P-CSCF sends REGISTERs that are not seen to go on
        for way in ways.values():
            hops = [way[depth] for depth in sorted(way)]
            if hops[0].depth == 2:
                self._evidence.vote(hops[0].source, Role.PCSCF, _LIKELY)
            if len(hops) >= 2:
                self._evidence.vote(hops[-1].source, Role.ICSCF, STRONG)
                self._evidence.vote(hops[-1].destination, Role.SCSCF, STRONG)
            elif hops[0].depth == 2:
                entries.add(hops[0].destination)
            elif hops[0].depth > 2:
                self._evidence.vote(hops[0].source, Role.ICSCF, _LIKELY)
                self._evidence.vote(hops[0].destination, Role.SCSCF, _LIKELY)
        self._place_entries(entries)

    def _place_entries(self, entries: set[Endpoint]) -> None:
        """An I-CSCF takes REGISTERs from a P-CSCF and nothing else; one that takes requests too is an S-CSCF."""
        users = {end for fact in self._requests if fact.method != "REGISTER" for end in (fact.source, fact.destination)}
        for entry in entries:
            cx = self._evidence.roles_at(entry.address) & {Role.ICSCF, Role.SCSCF}
            role = next(iter(cx)) if len(cx) == 1 else Role.SCSCF if entry in users or not users else Role.ICSCF
            self._evidence.vote(entry, role, _LIKELY)

    def _follow_dialogs(self, proxies: set[Endpoint]) -> None:
        """Every request but REGISTER goes from P-CSCF to S-CSCF and back; within a dialog nothing else is between."""
        others: Counter[Endpoint] = Counter()
        for fact in self._requests:
            if fact.method == "REGISTER":
                continue
            for one, other in ((fact.source, fact.destination), (fact.destination, fact.source)):
                if one in proxies and other not in proxies and not self._is_device(other):
                    others[other] += 3 if fact.in_dialog else 1
        for endpoint, times in others.items():
            self._evidence.vote(endpoint, Role.SCSCF, _LIKELY * min(times, 6))

    def _place_the_rest(self) -> None:
        """Who only hands on initial requests is an I-CSCF; who neither is anything nor hands on, is beyond."""
        votes = self._evidence.votes
        if not any(self._best(endpoint) is Role.SCSCF for endpoint in self._neighbours):
            return
        came: dict[Endpoint, set[str]] = defaultdict(set)
        went: dict[Endpoint, set[str]] = defaultdict(set)
        in_dialog: set[Endpoint] = set()
        clients: dict[Endpoint, list[Endpoint]] = defaultdict(list)  # of a server port, those of the same element
        for client, server in self._aliases.items():
            clients[server].append(client)
        for fact in self._requests:
            source, destination = (self._aliases.get(end, end) for end in (fact.source, fact.destination))
            came[destination].add(fact.call)
            went[source].add(fact.call)
            if fact.in_dialog:
                in_dialog.update((source, destination))
        for endpoint in list(self._neighbours):
            if self._best(endpoint) is not None or self._is_device(endpoint) or endpoint in self._aliases:
                continue
            role = next((best for one in clients[endpoint] if (best := self._best(one)) is not None), None)
            if role is not None:  # it sends from other ports over TCP (RFC 3261 clause 18)
                votes[endpoint][role] += _LIKELY
            elif came[endpoint] & went[endpoint] and endpoint not in in_dialog:
                votes[endpoint][Role.ICSCF] += _LIKELY
            else:
                votes[endpoint][Role.REMOTE] += WEAK

    def _best(self, endpoint: Endpoint) -> Role | None:
        votes = self._evidence.votes.get(endpoint)
        return votes.most_common(1)[0][0] if votes else None

    @property
    def aliases(self) -> dict[Endpoint, Endpoint]:
        """Client ports of TCP connections, and the server port that their Via names."""
        return self._aliases


def _header_values(head: bytes, name: bytes, compact: bytes) -> list[str]:
    """The values of a header field, comma-separated ones apart, folding undone (RFC 3261 clause 7.3.1)."""
    values: list[str] = []
    for match in re.finditer(
        rb"\n(?:" + name + rb"|" + compact + rb")[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)", head, re.IGNORECASE
    ):
        values.extend(part.strip() for part in _split_commas(match[1].decode("latin-1")))
    return [value for value in values if value]


def _split_commas(text: str) -> list[str]:
    """Split at commas outside quotation marks and angle brackets."""
    parts: list[str] = []
    begin, quoted, angle = 0, False, 0
    for at, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif not quoted and char == "<":
            angle += 1
        elif not quoted and char == ">":
            angle = max(0, angle - 1)
        elif char == "," and not quoted and not angle:
            parts.append(text[begin:at])
            begin = at + 1
    parts.append(text[begin:])
    return parts
