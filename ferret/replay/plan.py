"""The plan of a replay: what becomes of each recorded message, and why.

The edge is a set of NFs with a border (its *members*). A recorded message

- that enters the set from outside is a *stimulus*: translated and delivered to the member that it is for;
- that the HSS sent is *imported*: delivered like a stimulus, but what it brings (a vector, subscription data, a
  registration) cannot be produced again;
- between two members is made by the edge itself and *compared* at the member that makes it;
- that leaves the set is *caught* at the border and compared there, because what it asks for has long been done;
- that is a keep-alive, a capability exchange, hop-by-hop progress or between NFs that stay in the core is *skipped*.

A smaller set of members replays at a single NF.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ferret.protocols.summary import IdKind, Kind, Protocol
from ferret.records.message import Flaw, Interface, Node, Role, SignallingMessage
from ferret.records.recording import Entry
from ferret.records.sip_legs import Boundary
from ferret.replay.challenges import superseded_challenges

EDGE_ROLES = frozenset({Role.MME, Role.SGW, Role.PGW, Role.PCRF, Role.PCSCF, Role.SCSCF})
"""The NFs that the paper's prototype has at the edge (section 6)."""


class Part(StrEnum):
    """What becomes of a recorded message."""

    STIMULUS = "stimulus"
    IMPORTED = "imported"
    COMPARED = "compared"
    CAUGHT = "caught"
    SKIPPED = "skipped"

    @property
    def delivered(self) -> bool:
        """Whether the message itself is sent to an edge NF for execution."""
        return self in (Part.STIMULUS, Part.IMPORTED)

    @property
    def expected(self) -> bool:
        """Whether an edge NF has to make this message."""
        return self in (Part.COMPARED, Part.CAUGHT)


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """One recorded message with its part in the replay."""

    message: SignallingMessage
    part: Part
    reason: str
    nf: Role | None = None  # the member that executes it (stimulus, imported) or makes it (compared, caught)

    @property
    def index(self) -> int:
        """The message's place in the recording."""
        return self.message.index


@dataclass(frozen=True, slots=True)
class Plan:
    """The messages of one recording in order, each with its part."""

    subscriber: str
    service: str
    members: frozenset[Role]
    steps: tuple[PlannedMessage, ...]
    reconfigure_after: int | None  # index of the message after which base station and device are moved
    not_reconfigured: str = ""  # why `reconfigure_after` is None
    release_from: int | None = None  # index of the first message that releases the service

    def of(self, *parts: Part) -> tuple[PlannedMessage, ...]:
        """The steps that have one of these parts."""
        return tuple(step for step in self.steps if step.part in parts)

    @property
    def call_ids(self) -> tuple[str, ...]:
        """The Call-IDs of its messages, each once."""
        found = (value for step in self.steps for kind, value in step.message.identifiers if kind is IdKind.CALL_ID)
        return tuple(dict.fromkeys(found))


def members_for(messages: Iterable[SignallingMessage]) -> frozenset[Role]:
    """The NFs that can be members: those whose input from outside the recording shows.

    Along S1-MME → S11 → S5/S8 → Gx the first NF whose input is visible brings all that follow, since each makes the
    next one's input itself. The CSCFs are members where SIP with them is visible; an AF that shows only Rx is not.
    """
    seen: set[tuple[Role, Interface]] = set()
    for message in messages:
        seen.add((message.to_nf.role, message.interface))
        seen.add((message.from_nf.role, message.interface))
    chain = (
        (Role.MME, {(Role.MME, Interface.S1_MME)}),
        (Role.SGW, {(Role.SGW, Interface.S11)}),
        (Role.PGW, {(Role.PGW, Interface.S5)}),
        (Role.PCRF, {(Role.PCRF, Interface.GX), (Role.PCRF, Interface.RX)}),
    )
    members: set[Role] = set()
    for place, (_, evidence) in enumerate(chain):
        if evidence & seen:
            members.update(role for role, _ in chain[place:])
            break
    if (Role.PCSCF, Interface.GM) in seen:
        members.add(Role.PCSCF)
    if (Role.SCSCF, Interface.MW) in seen:
        members.add(Role.SCSCF)
    return frozenset(members)


def plan(
    *,
    subscriber: str,
    service: str,
    messages: Sequence[Entry],
    members: frozenset[Role] | None = None,
) -> Plan:
    """Give every message of a recording its part.

    `messages` are the subscriber's, in causal order, from the first of its context to the last of its service.
    """
    chosen = members_for(m for m, _ in messages) if members is None else members
    left_out = superseded_challenges([message for message, _ in messages])
    steps = tuple(
        PlannedMessage(message, Part.SKIPPED, "a challenge that the registrar did not go on with")
        if message.index in left_out
        else _part(message, boundary, chosen)
        for message, boundary in messages
    )
    established, why_not = _established(steps)
    return Plan(
        subscriber=subscriber,
        service=service,
        members=chosen,
        steps=steps,
        reconfigure_after=established,
        not_reconfigured=why_not,
        release_from=_release(steps),
    )


def _part(message: SignallingMessage, boundary: Boundary, members: frozenset[Role]) -> PlannedMessage:
    """One message's part: first what is never replayed, then the border rule."""
    reason = _never_replayed(message)
    if reason:
        return PlannedMessage(message, Part.SKIPPED, reason)
    sender, receiver = message.from_nf, message.to_nf
    from_member = sender.role in members and boundary is not Boundary.ENTERS
    to_member = receiver.role in members and boundary is not Boundary.LEAVES
    if from_member and to_member:
        return PlannedMessage(message, Part.COMPARED, f"{sender.role}_e makes it for {receiver.role}_e", sender.role)
    if to_member:
        if sender.role is Role.HSS and message.kind is Kind.RESPONSE:
            return PlannedMessage(message, Part.IMPORTED, "only the HSS can make it", receiver.role)
        return PlannedMessage(message, Part.STIMULUS, f"enters the edge from {_where(sender, members)}", receiver.role)
    if from_member:
        return PlannedMessage(message, Part.CAUGHT, f"leaves the edge for {_where(receiver, members)}", sender.role)
    return PlannedMessage(message, Part.SKIPPED, f"{sender.role} and {receiver.role} stay in the core")


def _where(node: Node, members: frozenset[Role]) -> str:
    """How to speak of an NF outside: its role, or that it is another leg's NF of a role that is also inside."""
    return f"the other leg's {node.role}" if node.role in members else f"the {node.role}"


KEEP_ALIVES = frozenset(
    {"CER", "CEA", "DWR", "DWA", "DPR", "DPA", "Echo Request", "Echo Response", "OPTIONS"}
)  # fmt: skip


def _never_replayed(message: SignallingMessage) -> str:
    """The reason why a message is skipped whatever the members are; "" if it is not."""
    if message.captured.flaws:
        flaws = ", ".join(message.captured.flaws)
        return f"damaged in the capture: {flaws}" if Flaw.HOLE_BEFORE not in message.captured.flaws else "after a hole"
    if message.name in KEEP_ALIVES or message.name.endswith("(OPTIONS)"):
        return "keep-alive or capability exchange"
    if message.name.startswith("S1Setup") or message.name.startswith("ENBConfigurationUpdate"):
        return "between neighbours, of no subscriber: the emulated eNB does its own"
    if is_progress(message.protocol, message.name):
        return "hop-by-hop: each SIP server makes its own 100"
    if message.interface in (Interface.GY, Interface.UNKNOWN, Interface.BASE):
        return f"no edge NF serves {message.interface}"
    return ""


def is_progress(protocol: str, name: str) -> bool:
    """Whether a message is a 100 (Trying), which every SIP server makes for itself (RFC 3261 clause 16.2)."""
    return protocol == Protocol.SIP and name.startswith("100 ")


def _established(steps: Sequence[PlannedMessage]) -> tuple[int | None, str]:
    """Where the service stands: the dedicated bearer is up and, where SIP is visible, the call is answered and ACKed.

    TS 23.228 clause 5.7: the session is established with the ACK; TS 23.401 clause 5.4.1: the bearer with the Create
    Bearer Response.
    """
    bearer = next(
        (s.index for s in steps if s.message.name == "Create Bearer Response" and s.message.accepted is not False),
        None,
    )
    if bearer is None:
        return None, "no dedicated bearer was set up in the recording"
    invites = [s for s in steps if s.message.name == "INVITE" and s.part is not Part.SKIPPED]
    if not invites:
        return _last_of_procedure(steps, bearer), ""
    answered = next((s.index for s in steps if s.message.name == "200 (INVITE)" and s.part.expected), None)
    if answered is None:
        answered = next((s.index for s in steps if s.message.name == "200 (INVITE)"), None)
    if answered is None:
        return None, "the call was not answered in the recording"
    acked = _last_ack(steps, answered)
    return max(_last_of_procedure(steps, bearer), acked), ""


def _last_of_procedure(steps: Sequence[PlannedMessage], first_response: int) -> int:
    """Index of the last Create Bearer Response that belongs with the first one (S11 and then S5)."""
    last = first_response
    for step in steps:
        name = step.message.name
        if step.index <= first_response:
            continue
        if name == "Create Bearer Response":
            last = step.index
        if name in ("Update Bearer Request", "Delete Bearer Request", "BYE"):
            break
    return last


def _last_ack(steps: Sequence[PlannedMessage], answered: int) -> int:
    """Index of the last hop of the ACK that follows the 200 at `answered`; that of the 200 where none is seen."""
    last = answered
    for step in steps:
        if step.index > answered:
            if step.message.name == "ACK":
                last = step.index
            elif step.message.name in ("INVITE", "BYE"):
                break
    return last


RELEASES = frozenset({"BYE", "STR", "Delete Bearer Request", "CANCEL"})


def _release(steps: Sequence[PlannedMessage]) -> int | None:
    """Index of the first message that releases the service."""
    return next((s.index for s in steps if s.message.name in RELEASES and s.part is not Part.SKIPPED), None)
