"""Short messages in pager mode (RFC 3428; TS 24.229 clause 5.1.2A.1): each is a MESSAGE outside any dialog."""

from __future__ import annotations

from typing import Final, Protocol

from ferret.errors import LocalMisuseError
from ferret.protocols import sip
from ferret_core.ua.configuration import UaConfiguration
from ferret_core.ua.events import MessageAnswered, MessageReceived, UaEvent

MAX_OCTETS: Final = 1300  # of a request in datagrams (RFC 3428 clause 8): the text alone may not be longer either
_TEXT: Final = "text/plain"


class MessagingAgent(Protocol):
    """What short messages need of their user agent."""

    configuration: UaConfiguration

    def token(self, bits: int = 64) -> str:
        """Something that nobody guesses, in hexadecimal."""

    def via(self) -> str:
        """A Via with a branch of its own."""

    def send(self, message: sip.Message, destination: str, now: float) -> sip.Message:
        """Send a message; as it is sent."""

    def initial_routes(self) -> tuple[str, ...]:
        """The Route of an initial request."""

    def own_identity(self) -> str:
        """Who we are."""

    def tell(self, event: UaEvent) -> None:
        """Tell whoever we work for."""


class ShortMessages:
    """Those that one user agent has sent and that are not answered yet, by Call-ID."""

    def __init__(self, agent: MessagingAgent) -> None:
        self.waiting: set[str] = set()
        self._agent = agent

    def send(self, peer: str, text: str, now: float) -> str:
        """Send a text to a SIP or tel URI; its name, which `MessageAnswered` carries.

        Raises LocalMisuseError for one that is too long.
        """
        body = text.encode()
        if len(body) > MAX_OCTETS:
            raise LocalMisuseError(f"a short message of {len(body)} octets: {MAX_OCTETS} are the most")
        agent, own = self._agent, self._agent.configuration
        identity, name = agent.own_identity(), f"{agent.token()}@{own.host}"
        fields = [
            ("Via", agent.via()),
            ("Max-Forwards", "70"),
            *[("Route", value) for value in agent.initial_routes()],
            ("From", f"<{identity}>;tag={agent.token(32)}"),
            ("To", f"<{peer}>"),
            ("Call-ID", name),
            ("CSeq", "1 MESSAGE"),
            ("P-Preferred-Identity", f"<{identity}>"),
            ("User-Agent", own.user_agent),
            ("Content-Type", f"{_TEXT};charset=utf-8"),
        ]
        if own.access_network:
            fields.append(("P-Access-Network-Info", own.access_network))
        self.waiting.add(name)
        agent.send(sip.request("MESSAGE", peer, fields, body), own.proxy, now)
        return name

    def answered(self, answer: sip.Message) -> None:
        """An answer to one of ours; a 202 says that it is stored somewhere, not that anybody has it."""
        name = answer.first("Call-ID")
        if answer.status >= 200 and name in self.waiting:
            self.waiting.discard(name)
            self._agent.tell(MessageAnswered(name, answer.status))

    def received(self, request: sip.Message) -> tuple[int, str]:
        """One for us; status and reason of the answer (RFC 3428 clause 7)."""
        kind = request.first("Content-Type").partition(";")[0].strip().lower()
        if kind != _TEXT:
            return 415, "Unsupported Media Type"
        asserted = sip.parse_name_addr(request.first("P-Asserted-Identity")).uri
        peer = asserted or sip.parse_name_addr(request.first("From")).uri
        self._agent.tell(MessageReceived(peer, request.body.decode("utf-8", "replace")))
        return 200, "OK"
