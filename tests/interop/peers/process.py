"""Programs that others wrote, started and stopped for one test; what they say is kept and shown when they fail."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from socket import inet_aton

PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/go/bin", "/usr/sbin", "/sbin"))
_POLL = 0.02  # seconds between looks at what cannot tell us
_PATIENCE = 10.0  # seconds


def program(name: str) -> str | None:
    """The path of a program, also where only root looks; None where there is none."""
    return shutil.which(name, path=PATH)


class PeerProcess:
    """A running program."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], cwd: Path | None) -> None:
        self.name = Path(command[0]).name
        self.log = log
        self._file = log.open("wb")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": PATH, **environment},
            cwd=cwd,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """Everything that it has written so far."""
        return self.log.read_text("utf-8", "replace")

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def stop(self, seconds: float = 3.0) -> None:
        """End it, and what it has started."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._file.close()

    async def until(self, holds: Callable[[], object], *, within: float = _PATIENCE, what: str = "ready") -> None:
        """Wait until something is so. Raises AssertionError with what the program said where it never is."""
        try:
            async with asyncio.timeout(within):
                while not holds():
                    if self.returncode is not None:
                        break
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            pass
        assert holds(), f"{self.name} was never {what} (exit status {self.returncode}):\n{self.said()[-6000:]}"

    async def until_said(self, text: str, *, within: float = _PATIENCE) -> None:
        """Wait until it has written something."""
        await self.until(lambda: text in self.said(), within=within, what=f"heard saying {text!r}")

    async def ended(self, *, within: float = _PATIENCE) -> int:
        """Wait for its end; the exit status."""
        await self.until(lambda: self.returncode is not None, within=within, what="at its end")
        return self.returncode or 0


def is_bound(address: str, port: int) -> bool:
    """Whether somebody has a UDP socket on this IPv4 address and port."""
    wanted = f" {int.from_bytes(inet_aton(address), sys.byteorder):08X}:{port:04X} "
    return wanted in Path("/proc/net/udp").read_text("ascii")


async def until(holds: Callable[[], object], *, within: float = _PATIENCE) -> None:
    """Wait until something is so that no event tells of. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - what is waited for is another program's doing
            await asyncio.sleep(_POLL)


@asynccontextmanager
async def running(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncIterator[PeerProcess]:
    """Start a program; it is stopped afterwards."""
    process = PeerProcess(command, log, environment or {}, cwd)
    try:
        yield process
    finally:
        await asyncio.to_thread(process.stop)
