"""A capture file as the agents would have recorded it: one beside each network function, each counting for itself.

A message between two NFs is seen twice, once by the sender's agent and once by the receiver's; the recorder joins them.
No agent stands beside a device, a base station or a party beyond this network: their messages are seen once, at the
other end. A copy from within a GTP-U tunnel stays marked as such and counts as seen by the same agents: it is the same
message from another vantage point.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ferret.records.message import CapturedMessage, Endpoint, Node, Role
from ferret_agents.roles import Network

_WITHOUT_AGENT = frozenset((Role.UE, Role.ENB, Role.REMOTE))


def agent_name(node: Node) -> str:
    """The name of the agent beside an NF: its address, with its port where several NFs share the address."""
    return str(Endpoint(node.address, node.port)) if node.port else node.address


def agents(messages: Iterable[CapturedMessage], network: Network) -> Iterator[CapturedMessage]:
    """Every message from each agent that sees it, in capture order; `number` counts from 1 within each agent.

    What is between two parties without an agent is given once, as seen at its destination, so that nothing is lost.
    """
    counts: Counter[str] = Counter()
    for message in messages:
        sender, receiver = network.between(message)
        seen = [agent_name(node) for node in (sender, receiver) if node.role not in _WITHOUT_AGENT]
        for name in dict.fromkeys(seen) or (agent_name(receiver),):
            counts[name] += 1
            yield replace(message, agent=name, number=counts[name])
