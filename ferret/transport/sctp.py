"""SCTP associations (RFC 9260), one to one: an interface, and the choice between its two implementations.

`sctp_kernel` uses the kernel's SCTP where there is one. `sctp_usrsctp` uses the library libusrsctp (Debian package
libusrsctp2), over raw IP where that is permitted and over UDP (RFC 6951) where it is not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ferret.errors import ConfigError
from ferret.transport.endpoint import Address, Counters

PPID_S1AP: Final = 18  # TS 36.412 clause 7
ENCAPSULATION_PORT: Final = 9899  # RFC 6951 clause 6


@dataclass(frozen=True, slots=True)
class SctpMessage:
    """One user message."""

    octets: bytes
    stream: int = 0
    ppid: int = 0  # payload protocol identifier, as a number (on the wire in network byte order)


@dataclass(frozen=True, slots=True)
class SctpOptions:
    """How an association behaves. Times are in seconds."""

    streams: int = 16  # asked for in each direction; the smaller wish wins
    connect_timeout: float = 5.0
    heartbeat: float = 5.0  # between heartbeats on an idle path
    rto_initial: float = 0.5
    rto_min: float = 0.2
    rto_max: float = 2.0
    path_retransmissions: int = 5  # without an answer: the peer is gone
    largest_message: int = 1 << 20  # octets; a peer that sends more is cut off
    send_limit: int = 4 << 20  # octets that may wait for a slow peer


DEFAULT_OPTIONS: Final = SctpOptions()


def _ignore_message(message: SctpMessage) -> None:
    """Nobody listens yet."""


def _ignore_lost(reason: str) -> None:
    """Nobody listens yet."""


class SctpAssociation(ABC):
    """An association that is up. Set `received` and `lost` before the event loop gets its turn again.

    `lost(reason)` is called once when the peer or the network ends the association, never after `close` or `abort`.
    """

    def __init__(self, local: Address, peer: Address) -> None:
        self.local = local
        self.peer = peer
        self.received: Callable[[SctpMessage], None] = _ignore_message
        self.lost: Callable[[str], None] = _ignore_lost
        self.counters = Counters()
        self.streams = 1  # outbound streams that the peer agreed to

    @abstractmethod
    def send(self, octets: bytes, *, stream: int = 0, ppid: int = PPID_S1AP) -> bool:
        """Queue one message. False, and counted, where the association is gone or too much waits already."""

    @abstractmethod
    def close(self) -> None:
        """Send what waits, then shut down (SHUTDOWN)."""

    @abstractmethod
    def abort(self) -> None:
        """End it at once (ABORT); what waits is thrown away."""


class SctpListener(ABC):
    """A listening endpoint."""

    address: Address

    @abstractmethod
    def close(self) -> None:
        """Stop listening. Associations that were accepted stay."""


class SctpTransport(ABC):
    """An implementation of SCTP."""

    name: str  # "kernel SCTP", "libusrsctp over raw IP", "libusrsctp over UDP"

    @abstractmethod
    async def listen(
        self,
        address: str,
        port: int,
        accepted: Callable[[SctpAssociation], None],
        *,
        options: SctpOptions = DEFAULT_OPTIONS,
    ) -> SctpListener:
        """Listen; `accepted(association)` gets each one before its first message. Raises TransportError."""

    @abstractmethod
    async def connect(
        self,
        peer: Address,
        *,
        local: Address | None = None,
        received: Callable[[SctpMessage], None] = _ignore_message,
        lost: Callable[[str], None] = _ignore_lost,
        options: SctpOptions = DEFAULT_OPTIONS,
    ) -> SctpAssociation:
        """Set up an association with `peer` from `local` (port 0: any). Raises TransportError."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which implementation is used, and why."""

    transport: SctpTransport
    why: str


def choose(wanted: str = "auto") -> Choice:
    """The kernel's SCTP where there is one, else libusrsctp over raw IP where permitted, else over UDP.

    `wanted` insists: "kernel", "usrsctp", "usrsctp-udp". Raises ConfigError where it cannot be had.
    """
    from ferret.transport import sctp_kernel, sctp_packets, sctp_usrsctp

    if wanted not in ("auto", "kernel", "usrsctp", "usrsctp-udp"):
        raise ConfigError(f"unknown SCTP implementation {wanted!r}: auto, kernel, usrsctp or usrsctp-udp")
    without_kernel = sctp_kernel.why_not()
    if wanted in ("auto", "kernel"):
        if not without_kernel:
            return Choice(sctp_kernel.KernelSctp(), "the kernel has SCTP")
        if wanted == "kernel":
            raise ConfigError(f"no kernel SCTP: {without_kernel}")
    try:
        library = sctp_usrsctp.load()
    except ConfigError as error:
        if wanted != "auto":
            raise
        raise ConfigError(f"no SCTP: {without_kernel}, and {error}") from None
    without_raw = "" if wanted == "usrsctp-udp" else sctp_packets.why_not_raw()
    over_udp = wanted == "usrsctp-udp" or bool(without_raw)
    reason = "asked for" if wanted != "auto" else f"no kernel SCTP ({without_kernel})"
    if without_raw:
        reason += f"; over UDP because {without_raw}"
    return Choice(sctp_usrsctp.Usrsctp(library, over_udp=over_udp), reason)
