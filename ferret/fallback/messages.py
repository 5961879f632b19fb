"""What goes into the controller and what comes out of it: events of the network, commands, and answers to commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from ferret.fallback.report import FallbackReport
from ferret.records.message import Endpoint
from ferret.records.recording import Recording
from ferret.replay.verdict import RecordingResult


class Place(StrEnum):
    """Where something is or happens."""

    CORE = "core"
    EDGE = "edge"


class Call(NamedTuple):
    """One call of one subscriber, named as its recording is."""

    subscriber: str  # IMSI
    service: str  # "volte", "video"
    number: int  # which time that the subscriber used the service, from 1

    def __str__(self) -> str:
        return "-".join(map(str, self))


class NasCounts(NamedTuple):
    """The NAS COUNTs that the next message of each direction has (TS 24.301 clause 4.4.3.1)."""

    uplink: int
    downlink: int
    exact: bool = True  # False: there may have been more messages than were seen

    def skipping(self, downlink: int) -> NasCounts:
        """These, so many downlink messages further on: a device takes any COUNT that it has not had yet, and never one
        twice (TS 24.301 clause 4.4.3.2), so an MME that does not know how many another one has sent leaves some out.
        """
        return NasCounts(self.uplink, self.downlink + downlink, exact=False)


# Events of the network


@dataclass(frozen=True, slots=True)
class CallBegun:
    """The core begins to set a call up."""

    call: Call


@dataclass(frozen=True, slots=True)
class CallEstablished:
    """200/ACK, and the call's dedicated bearer is up."""

    call: Call
    recording: Recording = field(repr=False)  # it holds keys
    counts: NasCounts | None = None  # the device's, as far as they are known


@dataclass(frozen=True, slots=True)
class CallEnded:
    """Either side hung up, or the setup failed. `at`: whose IMS saw it, and has released the call."""

    call: Call
    at: Place = Place.CORE


@dataclass(frozen=True, slots=True)
class UeContextReleased:
    """The device is idle: it has no S1 connection to either MME (TS 36.413 clause 8.3.3)."""

    subscriber: str


@dataclass(frozen=True, slots=True)
class EdgeLost:
    """An edge NF died or cannot be reached, or the S1 association with the edge's MME ended. `nf` names it."""

    nf: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class EdgeBack:
    """What `EdgeLost` said of this NF is over."""

    nf: str


@dataclass(frozen=True, slots=True)
class S1Lost:
    """A base station's S1 association with the core's MME ended. `subscribers`: its devices; None: any."""

    subscribers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class NasCounted:
    """The device and its MME, at whichever place, have exchanged NAS messages."""

    subscriber: str
    counts: NasCounts


@dataclass(frozen=True, slots=True)
class Recalled:
    """The operator wants calls back on the core; None: all of them."""

    subscriber: str | None = None


# Answers to commands


@dataclass(frozen=True, slots=True)
class CommandDone:
    """The command `id` has been carried out."""

    id: int
    result: RecordingResult | None = None  # of ReplayRecording
    counts: NasCounts | None = None  # of Reconfigure and MoveBack: the COUNTs after it
    media: Endpoint | None = None  # of ReplayRecording or Reconfigure: where the edge takes the call's media


@dataclass(frozen=True, slots=True)
class CommandFailed:
    """The command `id` was refused or cannot be carried out."""

    id: int
    reason: str


# Commands. Those of one call are to be carried out in the order in which they come; each with an `id` is answered.


@dataclass(frozen=True, slots=True)
class HoldCall:
    """re-INVITE through the core's IMS: the call on hold (RFC 6337 clause 5.3). Say CommandFailed only where the other
    party has refused it, so that nothing has changed; say nothing where nobody knows.
    """

    id: int
    call: Call


@dataclass(frozen=True, slots=True)
class ReplayRecording:
    """Replay at the edge NFs. Answer with the `RecordingResult`; CommandFailed where there is none."""

    id: int
    call: Call
    recording: Recording = field(repr=False)  # it holds keys


@dataclass(frozen=True, slots=True)
class AbandonReplay:
    """Stop the replay of this call before anything else is done. Not answered."""

    call: Call


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """E-RAB MODIFY REQUEST and Modify EPS bearer context request from the edge's MME."""

    id: int
    call: Call
    counts: NasCounts | None  # with which the edge's MME goes on; None: not known


@dataclass(frozen=True, slots=True)
class ResumeCall:
    """re-INVITE that lets the media flow as before our hold: through the edge's IMS with its media address, or the
    core's. What a party itself has put on hold stays on hold.
    """

    id: int
    call: Call
    through: Place
    media: Endpoint | None = None  # at the edge; None: the edge's IMS knows it


class WayBack(StrEnum):
    """How the device comes back to the core's MME."""

    MODIFY = "modify"  # E-RAB MODIFY REQUEST from the core's MME
    RELEASE = "release"  # the base station lets the device go; it comes back by SERVICE REQUEST to the core's MME
    IDLE = "idle"  # it has no signalling connection: only the core's context is set right


@dataclass(frozen=True, slots=True)
class MoveBack:
    """Base station and device back to the core's MME and SGW. Done as well where they never left."""

    id: int
    call: Call
    way: WayBack
    counts: NasCounts | None  # with which the core's MME goes on; None: its own


@dataclass(frozen=True, slots=True)
class EndCall:
    """The call ended at the edge: release what the core still holds of it (SIP dialog, Rx session, bearer)."""

    id: int
    call: Call


@dataclass(frozen=True, slots=True)
class ReleaseEdge:
    """Forget this subscriber at the edge NFs: dialogs, sessions, bearers, tunnels, contexts."""

    id: int
    call: Call


@dataclass(frozen=True, slots=True)
class Report:
    """The call has arrived at the edge, or the fallback is over. Not answered."""

    report: FallbackReport


NetworkEvent: TypeAlias = (
    CallBegun | CallEstablished | CallEnded | UeContextReleased | EdgeLost | EdgeBack | S1Lost | NasCounted | Recalled
)
Answer: TypeAlias = CommandDone | CommandFailed
Answered: TypeAlias = HoldCall | ReplayRecording | Reconfigure | ResumeCall | MoveBack | EndCall | ReleaseEdge
Command: TypeAlias = Answered | AbandonReplay | Report
