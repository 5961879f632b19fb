"""A SIP dialog (RFC 3261 clause 12): what every request inside it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ferret.protocols import sip
from ferret_core.sip_names import DEFAULT_PORT


@dataclass(slots=True)
class Dialog:
    """One dialog, early or confirmed. Sequence numbers are the last ones used; -1: none seen yet."""

    call_id: str
    local: str  # our From or To with tag
    remote: str  # the other party's
    target: str  # its Contact URI
    routes: tuple[str, ...]
    local_cseq: int
    remote_cseq: int = -1

    @classmethod
    def of_answer(cls, request: sip.Message, answer: sip.Message) -> Dialog:
        """What an answer to our INVITE sets up (clause 12.1.2)."""
        return cls(
            call_id=request.first("Call-ID"),
            local=request.first("From"),
            remote=answer.first("To"),
            target=contact_of(answer) or request.request_uri,
            routes=tuple(reversed(answer.values("Record-Route"))),
            local_cseq=number_of(request),
        )

    @classmethod
    def of_request(cls, request: sip.Message, tag: str) -> Dialog:
        """What an INVITE to us sets up (clause 12.1.1). `tag`: ours."""
        return cls(
            call_id=request.first("Call-ID"),
            local=f"{request.first('To')};tag={tag}",
            remote=request.first("From"),
            target=contact_of(request),
            routes=request.values("Record-Route"),
            local_cseq=0,
            remote_cseq=number_of(request),
        )

    @property
    def remote_tag(self) -> str:
        """The other party's tag."""
        return tag_of(self.remote)

    @property
    def local_tag(self) -> str:
        """Our own tag."""
        return tag_of(self.local)

    def request(
        self, method: str, via: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"", *, cseq: int = 0
    ) -> sip.Message:
        """A request inside the dialog (clause 12.2.1.1). `cseq`: of an ACK, its INVITE's; 0: the next one."""
        if not cseq:
            self.local_cseq += 1
        fields = [
            ("Via", via),
            ("Max-Forwards", "70"),
            *[("Route", value) for value in self.routes],
            ("From", self.local),
            ("To", self.remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq or self.local_cseq} {method}"),
            *headers,
        ]
        if body:
            fields.append(("Content-Type", "application/sdp"))
        return sip.request(method, self.target, fields, body)

    def takes(self, request: sip.Message) -> bool:
        """Whether a request is of this dialog and not out of order (clause 12.2.2); its number is kept.

        An early dialog of ours that has no remote tag yet takes none.
        """
        if tag_of(request.first("From")) != self.remote_tag or tag_of(request.first("To")) != self.local_tag:
            return False
        if request.method in ("ACK", "CANCEL"):
            return True
        number = number_of(request)
        if number <= self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def refresh(self, message: sip.Message) -> None:
        """A re-INVITE or UPDATE, or the answer to one, may name another target (clause 12.2)."""
        self.target = contact_of(message) or self.target

    def next_hop(self) -> str:
        """Where requests go: the topmost Route, or else the target; "host:port"."""
        uri = sip.parse_uri(sip.parse_name_addr(self.routes[0]).uri if self.routes else self.target)
        return f"{uri.host}:{uri.port or DEFAULT_PORT}"


def contact_of(message: sip.Message) -> str:
    """The URI of a Contact; "" without one, or where it could not stand in a request line."""
    uri = sip.parse_name_addr(message.first("Contact")).uri
    return "" if any(letter.isspace() for letter in uri) else uri


def tag_of(value: str) -> str:
    """The tag of a From or To value."""
    return sip.parse_name_addr(value).param("tag") or ""


def number_of(message: sip.Message) -> int:
    """The number in CSeq; 0 where it is none."""
    text = sip.cseq_number(message)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
