"""Several processes that share an interface's frames (PACKET_FANOUT): started together, told to end together."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final

from ferret.errors import FerretError

_PASSED_ON: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_workers(number: int, work: Callable[[int], None]) -> None:
    """Run `work(0)` to `work(number - 1)`, each in a process of its own, until all have ended.

    Where one fails, the others are told to end as well, and its fault is raised as FerretError.
    """
    children: list[int] = []

    def pass_on(what: int, _frame: FrameType | None) -> None:
        for child in children:
            os.kill(child, what)

    before = {one: signal.signal(one, pass_on) for one in _PASSED_ON}
    try:
        for place in range(number):
            child = os.fork()
            if not child:
                _be_worker(place, work)
            children.append(child)
        _wait_for(children)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _wait_for(children: list[int]) -> None:
    failed = 0
    while children:
        child, status = os.wait()
        if child not in children:
            continue
        children.remove(child)
        if status and not failed:
            failed = os.waitstatus_to_exitcode(status)
            for other in children:
                os.kill(other, signal.SIGTERM)
    if failed:
        raise FerretError(f"a process of the agent has ended with {failed}")


def _be_worker(place: int, work: Callable[[int], None]) -> None:
    """In the child: never returns."""
    status = 1
    try:
        for one in _PASSED_ON:
            signal.signal(one, signal.SIG_DFL)
        work(place)
        status = 0
    except FerretError as error:
        sys.stderr.write(f"ferret: {error}\n")
        status = error.exit_status
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
