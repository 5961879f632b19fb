"""What a SIP user agent tells whoever it works for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class EndReason(StrEnum):
    """Why a call is over."""

    HUNG_UP = "hung up"
    HUNG_UP_BY_PEER = "hung up by the other party"
    BUSY = "busy"
    NO_ANSWER = "no answer"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    NOT_REACHED = "not reached"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class MediaSession:
    """What two parties have agreed on for voice."""

    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    payload_type: int
    codec: str  # "AMR-WB/16000"
    direction: str  # ours: sendrecv, sendonly, recvonly or inactive

    @property
    def sends(self) -> bool:
        """Whether we send voice."""
        return self.direction in ("sendrecv", "sendonly")


@dataclass(frozen=True, slots=True)
class Registered:
    """The registrar has us until `seconds` from now."""

    identities: tuple[str, ...]  # P-Associated-URI
    seconds: int


@dataclass(frozen=True, slots=True)
class NotRegistered:
    """A registration failed, or has ended: `status` of the answer (408 also where none came), and why."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ringing:
    """The called party is being alerted; `incoming`: we are the called party, and `answer` is expected."""

    call: str
    incoming: bool
    peer: str  # URI of the other party


@dataclass(frozen=True, slots=True)
class ResourcesWanted:
    """The codecs are agreed: once the bearer for them is there, `resources_ready` lets the call go on (RFC 3312)."""

    call: str
    media: MediaSession


@dataclass(frozen=True, slots=True)
class Established:
    """The call is answered and acknowledged."""

    call: str
    media: MediaSession


@dataclass(frozen=True, slots=True)
class Held:
    """The call is on hold; `by_peer`: it is the other party's doing."""

    call: str
    by_peer: bool
    media: MediaSession


@dataclass(frozen=True, slots=True)
class Resumed:
    """The call goes on."""

    call: str
    by_peer: bool
    media: MediaSession


@dataclass(frozen=True, slots=True)
class MediaMoved:
    """The other party's media come from and go to another place now."""

    call: str
    media: MediaSession


@dataclass(frozen=True, slots=True)
class ModificationRefused:
    """The other party did not take our hold or resume; the call goes on as it was."""

    call: str
    status: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over. `status`: of the final answer to the INVITE, 0 where it had been answered."""

    call: str
    reason: EndReason
    status: int = 0


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A short message has come."""

    peer: str  # URI of its sender
    text: str


@dataclass(frozen=True, slots=True)
class MessageAnswered:
    """What has become of a short message of ours: `status` of its final answer, 408 where none came."""

    message: str  # its name
    status: int


UaEvent: TypeAlias = (
    Registered
    | NotRegistered
    | Ringing
    | ResourcesWanted
    | Established
    | Held
    | Resumed
    | MediaMoved
    | ModificationRefused
    | Ended
    | MessageReceived
    | MessageAnswered
)
