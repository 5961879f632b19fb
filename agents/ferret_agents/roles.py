"""Finding the network functions of a capture: who is what, by what was said, never by port numbers.

Endpoints (address and port) collect votes (`evidence`, `sip_topology`). Endpoints of one role on one address are one
NF; so are those that a message ties together (an F-TEID that names another address of its sender, one Diameter
identity), and those of one role that is there only once in each of its protocols. An NF that has its address to itself
is known by the address alone, otherwise by address and port.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from ferret.protocols.summary import Protocol
from ferret.records.message import CapturedMessage, Endpoint, Node, Role
from ferret_agents.evidence import Evidence
from ferret_agents.sip_topology import SipTopology

_MAY_BE_JOINED = tuple(role for role in Role if role not in (Role.UE, Role.REMOTE, Role.UNKNOWN, Role.HSS, Role.AF))
"""One NF of these speaks all the protocols of its role. An HSS for S6a and one for Cx are two as often as not."""
_WELL_KNOWN = frozenset((2123, 3868, 5060, 36412))


class _Group:
    """Endpoints that are one NF."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.endpoints: set[Endpoint] = set()

    @property
    def addresses(self) -> set[str]:
        """Every address of the NF."""
        return {end.address for end in self.endpoints}


class Network:
    """The network functions of a capture, and which of them an endpoint belongs to."""

    def __init__(self, evidence: Evidence, aliases: dict[Endpoint, Endpoint]) -> None:
        self._evidence = evidence
        self._groups: dict[Endpoint, _Group] = {}
        self._by_address: dict[str, set[_Group]] = defaultdict(set)
        self._nodes: dict[_Group, Node] = {}
        self._resolved: dict[tuple[Endpoint, Protocol | None], Node] = {}
        self._group_by_role_and_address()
        self._join_what_is_tied(aliases)
        self._join_application_functions()
        self._join_what_is_there_once()
        for group in set(self._groups.values()):
            for address in group.addresses:
                self._by_address[address].add(group)
        for group in set(self._groups.values()):
            self._nodes[group] = self._node(group)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every NF, device and remote party that a role was found for, sorted by role and address."""
        order = {role: number for number, role in enumerate(Role)}
        found = set(self._nodes.values()) | {Node(Role.UE, address) for address in self._evidence.ue_addresses}
        return tuple(sorted(found, key=lambda node: (order[node.role], node.address, node.port)))

    def resolve(self, endpoint: Endpoint, protocol: Protocol | None = None) -> Node:
        """Whose endpoint it is. `protocol` helps where several NFs share the address; role UNKNOWN if nothing does."""
        key = (endpoint, protocol)
        node = self._resolved.get(key)
        if node is None:
            node = self._resolved[key] = self._resolve(endpoint, protocol)
        return node

    def between(self, message: CapturedMessage) -> tuple[Node, Node]:
        """Who sent a message and who received it."""
        return (
            self.resolve(message.source, message.protocol),
            self.resolve(message.destination, message.protocol),
        )

    def _resolve(self, endpoint: Endpoint, protocol: Protocol | None) -> Node:
        if self._evidence.is_device(endpoint.address):
            return Node(Role.UE, endpoint.address)
        group = self._groups.get(endpoint)
        if group is not None:
            return self._nodes[group]
        groups = self._by_address.get(endpoint.address, set())
        if protocol is not None and len(groups) > 1:
            groups = {one for one in groups if self._speaks(one, endpoint.address, protocol)} or groups
        if len(groups) == 1:
            return self._nodes[next(iter(groups))]
        return Node(Role.UNKNOWN, endpoint.address, endpoint.port if groups else 0)

    def _speaks(self, group: _Group, address: str, protocol: Protocol) -> bool:
        return any(
            end.address == address and protocol in self._evidence.protocols.get(end, ()) for end in group.endpoints
        )

    def _group_by_role_and_address(self) -> None:
        by_place: dict[tuple[Role, str], _Group] = {}
        for endpoint, votes in self._evidence.votes.items():
            if not votes or self._evidence.is_device(endpoint.address):
                continue
            is_relay = endpoint.address in self._evidence.relays
            if is_relay and self._evidence.protocols.get(endpoint) == {Protocol.DIAMETER}:
                continue
            role = _winner(votes)
            group = by_place.setdefault((role, endpoint.address), _Group(role))
            group.endpoints.add(endpoint)
            self._groups[endpoint] = group

    def _merge(self, one: _Group, other: _Group) -> None:
        if one is other:
            return
        one.endpoints |= other.endpoints
        for endpoint in other.endpoints:
            self._groups[endpoint] = one

    def _join_what_is_tied(self, aliases: dict[Endpoint, Endpoint]) -> None:
        """One NF's addresses, as its own messages give them."""
        ties = [*self._evidence.same, *aliases.items()]
        hosts: dict[str, Endpoint] = {}
        for endpoint, host in self._evidence.identities():
            if hosts.setdefault(host, endpoint) != endpoint:
                ties.append((endpoint, hosts[host]))
        for _ in range(2):  # twice: a tie may reach an endpoint that only another tie gives a group
            for one, other in ties:
                self._tie(one, other)

    def _tie(self, one: Endpoint, other: Endpoint) -> None:
        group, joined = self._groups.get(one), self._groups.get(other)
        if group is None and joined is None:
            return
        if group is None or joined is None:
            known, missing = (joined, one) if group is None else (group, other)
            if (
                known is not None
                and missing in self._evidence.messages
                and missing.address not in self._evidence.ue_addresses
            ):
                known.endpoints.add(missing)
                self._groups[missing] = known
        elif group.role is joined.role:
            self._merge(group, joined)

    def _join_application_functions(self) -> None:
        """An AF that is also a P-CSCF is the P-CSCF: on its address, or where each is there only once."""
        functions = self._of(Role.AF)
        proxies = self._of(Role.PCSCF)
        for function in functions:
            here = [proxy for proxy in proxies if proxy.addresses & function.addresses]
            if not here and len(functions) == 1 and len(proxies) == 1:
                here = proxies
            if len(here) == 1:
                self._merge(here[0], function)

    def _join_what_is_there_once(self) -> None:
        """Groups of one role that speak different protocols are one NF if none of them has a rival."""
        for role in _MAY_BE_JOINED:
            by_function: dict[str, list[_Group]] = defaultdict(list)
            rest: list[_Group] = []  # user plane addresses, and those that only exchanged capabilities
            for group in self._of(role):
                functions = self._functions(group)
                for function in functions:
                    by_function[function].append(group)
                if not functions:
                    rest.append(group)
            if not by_function or any(len(groups) > 1 for groups in by_function.values()):
                continue
            first, *others = (groups[0] for groups in by_function.values())
            for other in (*others, *rest):
                self._merge(first, self._groups[next(iter(other.endpoints))])

    def _functions(self, group: _Group) -> set[str]:
        """What an NF was seen doing: the protocols, and Diameter applications, that it spoke."""
        functions: set[str] = set()
        for endpoint in group.endpoints:
            for protocol in self._evidence.protocols.get(endpoint, ()):
                if protocol is not Protocol.DIAMETER:
                    functions.add(protocol)
            functions.update(f"diameter {number}" for number in self._evidence.applications.get(endpoint, ()))
        return functions

    def _of(self, role: Role) -> list[_Group]:
        groups = {id(group): group for group in self._groups.values() if group.role is role}
        return sorted(groups.values(), key=lambda group: min(group.endpoints))

    def _node(self, group: _Group) -> Node:
        """What an NF is called: by the endpoint that most was said at, a listening one before a client's."""
        messages: Counter[Endpoint] = self._evidence.messages
        main = max(
            group.endpoints,
            key=lambda end: (
                end in messages,
                Protocol.DIAMETER not in self._evidence.protocols.get(end, ()) or group.role in _DIAMETER_SERVERS,
                end.port in _WELL_KNOWN,
                messages.get(end, 0),
                end,
            ),
        )
        alone = len(self._by_address[main.address]) == 1
        return Node(group.role, main.address, 0 if alone else main.port)


_DIAMETER_SERVERS = frozenset((Role.HSS, Role.PCRF, Role.OCS))


def _winner(votes: Counter[Role]) -> Role:
    """The role with most votes; of equals the one that comes first in `Role`."""
    order = list(Role)
    return max(votes, key=lambda role: (votes[role], -order.index(role)))


def find_network(messages: Iterable[CapturedMessage]) -> Network:
    """Who is what in a capture. Takes one pass over the messages; those that cannot be read say nothing."""
    evidence = Evidence()
    topology = SipTopology(evidence)
    for message in messages:
        evidence.add(message)
        if message.protocol is Protocol.SIP:
            topology.add(message)
    topology.vote()
    return Network(evidence, topology.aliases)


def find_nodes(messages: Iterable[CapturedMessage]) -> tuple[Node, ...]:
    """Every NF, device and remote party of a capture."""
    return find_network(messages).nodes
