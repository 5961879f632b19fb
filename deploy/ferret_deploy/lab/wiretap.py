"""Records everything that the places say to one pcapng file, each packet once: where it arrives.

A process of its own (`python -m ferret_deploy.lab.wiretap`) reads the wires, so that the lab is not disturbed.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Final

from ferret.errors import ConfigError
from ferret.transport.endpoint import widen
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.pcapng import PcapngWriter
from ferret_deploy.lab.places import SGI_INTERFACE, WAN_INTERFACE, Places
from ferret_deploy.lab.wire import LARGEST_FRAME, open_wire, stamp_ns, take_overrun

_BATCH: Final = 64
_ANSWER_WITHIN: Final = 10.0  # s
_LOOPBACK: Final = "lo"


@dataclass(frozen=True, slots=True)
class Tapped:
    """What was recorded. `missed`: frames that came faster than they were read."""

    frames: int
    missed: int


class WireTap:
    """A recording at work: from when it is made until `stop`."""

    def __init__(self, places: Places, path: Path) -> None:
        """Listen at every place's wires: between its NFs, from the WAN, from SGi. Raises PlaceError, ConfigError."""
        points = [
            (place, interface)
            for place in places
            for interface in (_LOOPBACK, WAN_INTERFACE, *((SGI_INTERFACE,) if place.config.subscribers else ()))
        ]
        if any(place.namespace is None for place, _ in points):
            raise ConfigError(f"no wires to listen at: {places.why_not}")
        with ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("wb"))
            except OSError as error:
                raise ConfigError(f"cannot write {path}: {error.strerror}") from error
            sockets = []
            for place, interface in points:
                with place.inside():
                    sockets.append(stack.enter_context(_open(interface)))
            self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.enter_context(far)
            self._control.settimeout(_ANSWER_WITHIN)
            files = [sock.fileno() for sock in sockets]
            order = {"file": file.fileno(), "files": files, "names": [f"{p.name}/{i}" for p, i in points]}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ferret_deploy.lab.wiretap", str(far.fileno())],
                pass_fds=[far.fileno(), file.fileno(), *files],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            self._control.send(json.dumps(order).encode())
        except OSError as error:
            self.stop()
            raise PlaceError(f"the wire tap does not start: {error.strerror}") from error

    def stop(self) -> Tapped:
        """Write what has been seen, and end. Raises PlaceError where it has ended by itself, or was stopped before."""
        try:
            self._control.send(b"stop")
            answer = self._control.recv(1024)
            told = Tapped(**json.loads(answer))
        except (OSError, ValueError) as error:
            raise PlaceError(f"the wire tap has ended before: {error}") from error
        finally:
            self._control.close()
            self._process.wait()
        return told


def _open(interface: str) -> socket.socket:
    try:
        sock = open_wire(interface)
    except OSError as error:
        raise PlaceError(f"cannot listen at {interface}: {error.strerror}") from error
    widen(sock)
    sock.setblocking(False)
    return sock


def _record(control: socket.socket, sockets: dict[int, tuple[int, socket.socket]], writer: PcapngWriter) -> None:
    """Until there is a word to stop, or nobody is there to say it."""
    stopping = False
    while True:
        readable, _, _ = select([*sockets, *(() if stopping else (control.fileno(),))], (), (), 0 if stopping else None)
        if control.fileno() in readable:
            control.recv(64)
            stopping = True
        elif not readable:
            return  # every wire has been read to its end
        for file in readable:
            if file in sockets:
                _read(*sockets[file], writer)


def _read(number: int, sock: socket.socket, writer: PcapngWriter) -> None:
    for _ in range(_BATCH):
        try:
            frame = sock.recv(LARGEST_FRAME)
        except OSError:  # nothing more, or the interface has gone
            return
        writer.put(number, stamp_ns(sock), frame)


def main() -> None:
    """Record as the first word of the control socket says."""
    control = socket.socket(fileno=int(sys.argv[1]))
    order = json.loads(control.recv(65536))
    sockets = [socket.socket(fileno=file) for file in order["files"]]
    with open(order["file"], "wb") as file:  # noqa: PTH123 - a file that is open already
        writer = PcapngWriter(file, order["names"])
        _record(control, {sock.fileno(): (number, sock) for number, sock in enumerate(sockets)}, writer)
        writer.finish()
    missed = sum(take_overrun(sock) for sock in sockets)
    with suppress(BrokenPipeError):  # the lab has ended without asking
        control.send(json.dumps({"frames": writer.frames, "missed": missed}).encode())


if __name__ == "__main__":
    main()
