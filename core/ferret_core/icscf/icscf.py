"""The I-CSCF (TS 24.229 clause 5.3): asks the HSS for the S-CSCF of a user and sends the request there.

REGISTER -> UAR; UAA -> REGISTER to the S-CSCF
any other initial request -> LIR; LIA -> request to the S-CSCF
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from ferret.errors import DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter.constants import CxResult, ResultCode
from ferret.records.message import Interface, Role
from ferret_core.cscf import Cscf
from ferret_core.icscf import cx
from ferret_core.icscf.cx import UserAuthorization
from ferret_core.nf import Note, Output, Peer, Received, Send
from ferret_core.sip_names import split_address
from ferret_core.sip_policy import Policy, Way
from ferret_core.sip_proxy import Branch, Context, Phase

# An I-CSCF leaves the path of what it has passed on (clause 5.3.2.1), and of registrations anyway.
DEFAULT: Final = Policy(record_route_methods=())

# What the HSS says no with, and what the caller is told (clauses 5.3.1.2 and 5.3.2.1).
_REFUSALS: Final[Mapping[tuple[Way, int], tuple[int, str]]] = {
    (Way.TERMINATING, CxResult.ERROR_USER_UNKNOWN): (404, "Not Found"),
    (Way.TERMINATING, CxResult.ERROR_IDENTITY_NOT_REGISTERED): (480, "Temporarily Unavailable"),
    (Way.REGISTER, ResultCode.UNABLE_TO_DELIVER): (504, "Server Time-out"),
    (Way.TERMINATING, ResultCode.UNABLE_TO_DELIVER): (504, "Server Time-out"),
}
_OTHERWISE: Final[Mapping[Way, tuple[int, str]]] = {
    Way.REGISTER: (403, "Forbidden"),
    Way.TERMINATING: (500, "Server Internal Error"),
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for the HSS."""

    context: Context
    request: sip.Message  # as it will go on


class Icscf(Cscf):
    """One I-CSCF.

    `import_context` takes

    - "profile": {"sip": changes of `Policy`, "cx": changes of `CxProfile`};
    - "names": {host or "host:port" in a URI: transport address "host:port"};
    - "peers": {transport address: role};
    - "scscfs": SIP URIs of the S-CSCFs that serve users for whom the HSS names none, in order of preference.
    """

    role = Role.ICSCF
    context_keys = frozenset({"scscfs"})
    profile_keys = frozenset({"cx"})

    def __init__(self, *, address: str, random: Random) -> None:
        super().__init__(address=address, random=random, policy=DEFAULT)
        self.cx = cx.CxProfile()
        self.scscfs: tuple[str, ...] = ()
        self.waiting: dict[int, Waiting] = {}  # by token of the Cx request
        self.token = 0
        self._session = random.getrandbits(32)

    def _asked_on_diameter(self, event: Received, request: diameter.Message, now: float) -> list[Output]:
        answer = diameter.answer(request, diameter.avp.RESULT_CODE(ResultCode.COMMAND_UNSUPPORTED), error=True)
        return [Send(event.interface, event.peer, answer, reply_to=event.transaction)]

    def _answered_on_diameter(
        self, token: int, answer: diameter.Message | None, reason: str, now: float
    ) -> list[Output]:
        return self._answer_arrived(token, answer)

    def _take_profile(self, profile: Mapping[str, Any]) -> None:
        self.cx = self.cx.changed(profile.get("cx", {}))

    def _take_context(self, context: Mapping[str, Any], now: float) -> None:
        self.scscfs = tuple(str(uri) for uri in context.get("scscfs", self.scscfs))

    def leftovers(self) -> Mapping[str, int]:
        """Requests that wait for the HSS."""
        return {"waiting": len(self.waiting)}

    # ---- what the proxy asks

    def _way_of(self, event: Received, request: sip.Message) -> Way:
        if request.method == "REGISTER":
            return Way.REGISTER
        in_dialog = sip.parse_name_addr(request.first("To")).param("tag") is not None
        return Way.IN_DIALOG_TO_UE if in_dialog else Way.TERMINATING

    def _route(self, context: Context, now: float) -> list[Output]:
        request, _ = self._without_own_route(context.request)
        if context.way is Way.REGISTER:
            return self._ask(Waiting(context, request), self._uar(request))
        if context.way is Way.TERMINATING and request.method != "ACK" and not request.first("Route"):
            identity = sip.parse_uri(request.request_uri).identity
            return self._ask(Waiting(context, request), cx.lir(self.cx, self._session_id(), identity))
        address = self._next_hop(request)
        if address == self.names.own:  # of a dialog that left no Route: it would come to us until Max-Forwards ends it
            return [] if request.method == "ACK" else self._refuse(context, 481, "Call/Transaction Does Not Exist")
        return self._forward(context, request, address)

    def _answered(self, context: Context, branch: Branch, answer: sip.Message, now: float) -> list[Output] | None:
        return [self._send_upstream(context, answer)]

    def _peer_of(self, address: str, context: Context | None) -> tuple[Interface, Peer]:
        role = self.names.role_of(address)
        if role is None:
            role = Role.REMOTE if context is None else Role.SCSCF
        return Interface.MW, Peer(role, address)

    def _values(self, context: Context) -> dict[str, str]:
        return {"address": self.address, "host": split_address(self.address)[0]}

    # ---- Cx

    def _uar(self, request: sip.Message) -> diameter.Message:
        impu = sip.parse_uri(sip.parse_name_addr(request.first("To")).uri).identity
        impi = _username(request) or impu.partition(":")[2]
        visited = request.first("P-Visited-Network-ID").partition(";")[0].strip().strip('"')
        asked = UserAuthorization.DE_REGISTRATION if _leaves(request) else UserAuthorization.REGISTRATION
        return cx.uar(self.cx, self._session_id(), impi, impu, visited, asked)

    def _ask(self, waiting: Waiting, message: diameter.Message) -> list[Output]:
        self.token += 1
        self.waiting[self.token] = waiting
        return [Send(Interface.CX, Peer(Role.HSS), message, token=self.token)]

    def _session_id(self) -> str:
        """A Session-Id (RFC 6733 clause 8.8)."""
        return f"{self.cx.origin_host};{self._session};{self.token + 1}"

    def _answer_arrived(self, token: int, answer: diameter.Message | None) -> list[Output]:
        """UAA or LIA; None: the HSS never answered."""
        waiting = self.waiting.pop(token, None)
        if waiting is None:
            return [Note("cx_answer_to_nothing", {})]
        context = waiting.context
        if context.phase is not Phase.PROCEEDING:  # cancelled meanwhile
            return self._refuse(context, 487, "Request Terminated")
        if answer is None:
            return self._refuse(context, 504, "Server Time-out")
        if diameter.summarise(answer).accepted is not True:
            result = diameter.result_of(answer) or 0
            status, reason = _REFUSALS.get((context.way, result), _OTHERWISE[context.way])
            return [Note("hss_refused", {"result": result}), *self._refuse(context, status, reason)]
        servers = cx.servers_of(answer) or self.scscfs
        if not servers:
            return [Note("no_scscf", {}), *self._refuse(context, 504, "Server Time-out")]
        return self._to_scscf(waiting, servers[0])

    def _to_scscf(self, waiting: Waiting, server: str) -> list[Output]:
        """The S-CSCF's URI becomes a REGISTER's Request-URI (5.3.1.2), any other request's Route (5.3.2.1)."""
        context, request = waiting.context, waiting.request
        address = self.names.address_of(sip.parse_uri(server))
        if context.way is Way.REGISTER:
            request = request.with_request_uri(server)
        else:
            parameters = "" if sip.parse_uri(server).param("lr") is not None else ";lr"
            request = request.prepend("Route", f"<{server}{parameters}>")
        return self._forward(context, request, address)


def _username(request: sip.Message) -> str:
    """The private identity that a REGISTER names; "" where it names none."""
    try:
        return sip.digest.parse(request.first("Authorization"))[1].get("username", "")
    except DecodeError:
        return ""


def _leaves(request: sip.Message) -> bool:
    """Whether every contact of a REGISTER, or all of them by "*", expires now (RFC 3261 clause 10.2.2)."""
    contacts = [sip.parse_name_addr(value) for value in request.values("Contact")]
    default = request.first("Expires")
    wishes = [default if (wish := contact.param("expires")) is None else wish for contact in contacts]
    return bool(wishes) and all(wish.strip() == "0" for wish in wishes)
