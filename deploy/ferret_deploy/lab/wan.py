"""The WAN of the lab: starts the relay, tells it who is where and how far away, and asks it how it does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ferret.errors import ConfigError
from ferret.transport.endpoint import widen
from ferret_deploy.lab.delay_line import FrameRouter, Impairment, WanPort
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.wire import open_wire

_ANSWER_WITHIN: Final = 10.0  # s
_STOP_WITHIN: Final = 5.0  # s
_REPLY: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Attachment:
    """One port of the WAN as the relay sees it: the near end of its wire, and both Ethernet addresses."""

    port: WanPort
    interface: str
    mac: bytes
    far_mac: bytes


@dataclass(frozen=True, slots=True)
class WanStatistics:
    """What the relay has done. `lines`: "site>core" to counters. Lateness is in seconds behind the due time."""

    lines: Mapping[str, Mapping[str, int]]
    unroutable: int
    overrun: int  # frames that came faster than they were read
    undelivered: int  # frames that the other place would not take
    late: Mapping[str, float]  # p50, p99, max since the last time of asking
    late_frames: int


class Wan(ABC):
    """What lies between places."""

    priority: str
    """How whoever carries packets is scheduled, in words."""

    @abstractmethod
    def impair(self, source: str, target: str, impairment: Impairment) -> None:
        """Change one direction between two places, for packets from now on. Raises ConfigError."""

    @abstractmethod
    def route(self, prefix: str, port: WanPort | None, *, seen_from: str = "") -> None:
        """Send what is for `prefix` to a port from now on (None: forget it); `seen_from`: only packets of that place.

        Takes effect before it returns. Raises ConfigError.
        """

    @abstractmethod
    def statistics(self) -> WanStatistics:
        """Counters since the start; lateness since the last time of asking."""

    @abstractmethod
    def stop(self) -> None:
        """End it; stopping it again does nothing."""


class RelayedWan(Wan):
    """The relay process. Made in the namespace where its interfaces are."""

    def __init__(
        self, attachments: Sequence[Attachment], links: Mapping[tuple[str, str], Impairment], *, seed: int = 0
    ) -> None:
        """Start it. Raises PlaceError, ConfigError."""
        self.ports = tuple(one.port for one in attachments)
        FrameRouter(self.ports, links)  # finds faults here rather than in the relay
        sockets = [_open(one.interface) for one in attachments]
        self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_ANSWER_WITHIN)
        files = [sock.fileno() for sock in sockets]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ferret_deploy.lab.wan_relay", str(far.fileno())],
                pass_fds=[far.fileno(), *files],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt from the keyboard is for the lab, which then ends the relay
            )
        finally:
            far.close()
        order = {
            "files": files,
            "heads": [(one.far_mac + one.mac).hex() for one in attachments],
            "ports": [(port.place, port.prefixes) for port in self.ports],
            "links": [(a, b, asdict(impairment)) for (a, b), impairment in links.items()],
            "seed": seed,
        }
        try:
            self.priority = str(self._ask(order)["priority"])  # how the relay is scheduled
        except BaseException:
            self.stop()
            raise
        finally:
            for sock in sockets:
                sock.close()

    def impair(self, source: str, target: str, impairment: Impairment) -> None:
        """Tell the relay."""
        self._ask({"do": "impair", "from": source, "to": target, "impairment": asdict(impairment)})

    def route(self, prefix: str, port: WanPort | None, *, seen_from: str = "") -> None:
        """Tell the relay, and wait until it has taken it in."""
        number = None if port is None else self.ports.index(port)
        self._ask({"do": "route", "prefix": prefix, "port": number, "seen_from": seen_from})

    def statistics(self) -> WanStatistics:
        """Ask the relay."""
        return WanStatistics(**self._ask({"do": "statistics"}))

    def stop(self) -> None:
        """End the relay; stopping it again does nothing."""
        self._control.close()
        try:
            self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, command: Mapping[str, object]) -> dict[str, Any]:
        try:
            self._control.send(json.dumps(command).encode())
            answer = self._control.recv(_REPLY)
        except OSError as error:
            raise PlaceError(f"the WAN's relay does not answer: {error}") from error
        if not answer:
            raise PlaceError(f"the WAN's relay has ended (status {self._process.poll()})")
        decoded: dict[str, Any] = json.loads(answer)
        if "error" in decoded:
            raise ConfigError(str(decoded["error"]))
        return decoded


def _open(interface: str) -> socket.socket:
    try:
        sock = open_wire(interface)
    except OSError as error:
        raise PlaceError(f"cannot listen at {interface}: {error.strerror}") from error
    widen(sock)
    return sock
