"""SIPp as a UE (Debian: sip-tester): one scenario at a time, filled in with who the UE is."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final

from ferret_core.driver.configuration import LabNetwork, LabSubscriber
from ferret_core.driver.ports import SIP_PORT
from tests.interop.peers.process import PeerProcess, is_bound, program, running

SCENARIOS: Final = Path(__file__).parents[1] / "data" / "sipp"
OPERATOR: Final = b"FERRET lab OP   "  # OP of `LabSubscriber.opc`
_SECONDS: Final = 20


@cache
def version() -> str:
    """The version of the SIPp that is installed; "" without one."""
    path = program("sipp")
    if path is None:
        return ""
    done = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"SIPp v(\d[\w.]*)", done.stdout + done.stderr)
    return found.group(1) if found else "?"


@asynccontextmanager
async def sipp(
    scenario: str,
    lab: LabNetwork,
    subscriber: LabSubscriber,
    address: str,
    proxy: str,
    directory: Path,
    *,
    calls: int = 1,
    values: Mapping[str, str] | None = None,
) -> AsyncIterator[PeerProcess]:
    """A UE at `address` that plays a scenario; its exit status is 0 where every call went as the scenario says."""
    place = directory / f"{scenario}-{subscriber.imsi}"
    place.mkdir()
    text = (SCENARIOS / f"{scenario}.xml").read_text()
    own = {
        "DOMAIN": lab.ims_domain,
        "IMSI": subscriber.imsi,
        "MSISDN": subscriber.msisdn,
        "KEY": f"0x{subscriber.key.hex()}",
        "OP": f"0x{OPERATOR.hex()}",
        **(values or {}),
    }
    for name, value in own.items():
        text = text.replace(f"@{name}@", value)
    file = place / f"{scenario}.xml"
    file.write_text(text)
    path = program("sipp")
    assert path is not None
    command = [path, proxy, "-sf", str(file), "-i", address, "-bind_local", "-p", str(SIP_PORT), "-ci", address]
    command += ["-m", str(calls), "-r", "10", "-nostdin", "-timeout", f"{_SECONDS}s", "-timeout_error"]
    command += [
        "-trace_err",
        "-error_file",
        str(place / "errors"),
        "-trace_msg",
        "-message_file",
        str(place / "messages"),
    ]
    async with running(command, place / "log", cwd=place) as process:
        await process.until(lambda: process.returncode is not None or is_bound(address, SIP_PORT), what="listening")
        yield process


async def succeeded(process: PeerProcess) -> None:
    """Wait for the end of a SIPp, and say what it saw where it was not content."""
    status = await process.ended(within=_SECONDS + 5)
    errors = process.log.parent / "errors"
    told = errors.read_text("utf-8", "replace") if errors.exists() else ""
    assert status == 0, f"{process.log.parent.name} ended with {status}: {told}\n{process.said()[-3000:]}"
