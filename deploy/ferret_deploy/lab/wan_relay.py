"""The relay: a process of its own that carries the frames of the WAN, so that nobody else's work makes it late.

Started by `ferret_deploy.lab.wan` as `python -m ferret_deploy.lab.wan_relay`, with packet sockets and a control socket
that it inherits. Frames are timed by the kernel's receive timestamps and go out when they are due; between two of them
the process sleeps in `select`, whose timer is good for tens of microseconds. The control socket takes one JSON object
per datagram and answers each; when it closes, the relay ends.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from select import select
from time import monotonic, time_ns
from typing import Any, Final

from ferret.errors import ConfigError
from ferret_deploy.lab.delay_line import FrameRouter, Impairment, WanPort
from ferret_deploy.lab.wire import LARGEST_FRAME, stamp_ns, take_overrun

_BATCH: Final = 32  # frames read from one port before others get their turn
_OLDEST: Final = 1.0  # s: a frame that seems to have waited longer came while somebody set the clock
_PR_SET_TIMERSLACK: Final = 29
_KEPT: Final = 200_000  # frames whose lateness is remembered


class Relay:
    """Packet sockets, one per port, and the router between them."""

    def __init__(self, router: FrameRouter, ports: Sequence[socket.socket], heads: Sequence[bytes]) -> None:
        """`heads`: destination and source Ethernet address of what goes out of each port."""
        self._router = router
        self._ports = {sock.fileno(): (number, sock) for number, sock in enumerate(ports)}
        self._sockets = list(ports)
        self._heads = list(heads)
        self._undelivered = 0
        self._overrun = 0
        self._lateness: deque[float] = deque(maxlen=_KEPT)

    def serve(self, control: socket.socket) -> None:
        """Work until the control socket closes."""
        files = [*self._ports, control.fileno()]
        while True:
            due = self._router.next_due
            timeout = None if due is None else max(0.0, due - monotonic())
            readable, _, _ = select(files, (), (), timeout)
            for file in readable:
                if file in self._ports:
                    self._read(*self._ports[file])
                elif not self._obey(control):
                    return
            self._send_due()

    def _read(self, number: int, sock: socket.socket) -> None:
        receive, wait = sock.recv, self._router.receive
        for _ in range(_BATCH):
            try:
                frame = receive(LARGEST_FRAME)
            except OSError:  # nothing more, or the interface has gone
                return
            wait(number, frame, _arrival(sock))

    def _send_due(self) -> None:
        for due, port, frame in self._router.take(monotonic()):
            try:
                self._sockets[port].send(self._heads[port] + frame[12:])
            except OSError:
                self._undelivered += 1
            else:
                self._lateness.append(monotonic() - due)

    def _obey(self, control: socket.socket) -> bool:
        octets = control.recv(65536)
        if not octets:
            return False
        try:
            answer: Mapping[str, object] = self._command(json.loads(octets))
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            answer = {"error": str(error)}
        control.send(json.dumps(answer).encode())
        return True

    def _command(self, command: Mapping[str, Any]) -> Mapping[str, object]:
        match command["do"]:
            case "impair":
                self._router.impair(command["from"], command["to"], Impairment(**command["impairment"]))
                return {}
            case "route":
                self._router.route(command["prefix"], command["port"], seen_from=command["seen_from"])
                return {}
            case "statistics":
                return self._statistics()
            case other:
                return {"error": f"unknown command {other!r}"}

    def _statistics(self) -> Mapping[str, object]:
        for sock in self._sockets:
            self._overrun += take_overrun(sock)
        late = sorted(self._lateness)
        self._lateness.clear()
        figures = {f"p{p}": late[min(len(late) - 1, len(late) * p // 100)] for p in (50, 99)} if late else {}
        if late:
            figures["max"] = late[-1]
        return {
            "lines": self._router.counters(),
            "unroutable": self._router.unroutable,
            "overrun": self._overrun,
            "undelivered": self._undelivered,
            "late": figures,
            "late_frames": len(late),
        }


def _arrival(sock: socket.socket) -> float:
    """When the frame just read reached the kernel, on the monotonic clock."""
    now, stamp = monotonic(), stamp_ns(sock)
    waited = (time_ns() - stamp) / 1e9
    return now - waited if 0 <= waited <= _OLDEST else now


def _hurry() -> str:
    """Ask to be run at once when there is something to do; says what was granted."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # ns by which the kernel may let timers slip
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        pass
    else:
        return "real-time"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except OSError:
        return "normal"
    return "nice -20"


def main() -> None:
    """Run the relay as the first line of the control socket says."""
    control = socket.socket(fileno=int(sys.argv[1]))
    order = json.loads(control.recv(65536))
    ports = [socket.socket(fileno=file) for file in order["files"]]
    for sock in ports:
        sock.setblocking(False)
    links = {(a, b): Impairment(**impairment) for a, b, impairment in order["links"]}
    wan_ports = [WanPort(place, tuple(prefixes)) for place, prefixes in order["ports"]]
    router = FrameRouter(wan_ports, links, seed=order["seed"])
    relay = Relay(router, ports, [bytes.fromhex(head) for head in order["heads"]])
    priority = _hurry()
    control.send(json.dumps({"priority": priority}).encode())
    gc.freeze()
    gc.disable()  # what is made here is freed by reference counts; a collection would make packets late
    relay.serve(control)


if __name__ == "__main__":
    main()
