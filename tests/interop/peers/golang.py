"""go-gtp's gateway tester, an MME of our own on go-gtp, and go-diameter's S6a client and server.

They are built by the Go of this machine from its module proxy, once for each state of `tests/interop/data/go`.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.interop.peers.process import PATH, PeerProcess, program, running

MODULE: Final = Path(__file__).parents[1] / "data" / "go"
OLDEST: Final = (1, 21)  # older ones cannot get the toolchain that the modules want by themselves
_BUILDING: Final = 500.0  # seconds, from nothing on a slow machine


@cache
def version() -> str:
    """The version of Go; "" without one that is new enough."""
    path = program("go")
    if path is None:
        return ""
    said = subprocess.run([path, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/").stdout
    found = re.match(r"go(\d+)\.(\d+)", said)
    return said.strip() if found and (int(found[1]), int(found[2])) >= OLDEST else ""


def module_version(name: str) -> str:
    """The version of a module that is built."""
    found = re.search(rf"{re.escape(name)} v(\S+)", (MODULE / "go.mod").read_text())
    return found[1] if found else "?"


def programs() -> tuple[Path, str]:
    """Where the programs are, built if need be; and why they are not there, "" where they are."""
    digest = hashlib.sha256(version().encode())
    for file in sorted(one for one in MODULE.rglob("*") if one.is_file()):
        digest.update(file.read_bytes())
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cached / "ferret-interop" / digest.hexdigest()[:16]
    if (place / "built").exists():
        return place, ""
    place.mkdir(parents=True, exist_ok=True)
    command = [str(program("go")), "build", "-trimpath", "-ldflags", "-s -w", "-o", f"{place}/", "./session", "tool"]
    environment = {**os.environ, "PATH": PATH, "CGO_ENABLED": "0"}
    try:
        done = subprocess.run(
            command, cwd=MODULE, env=environment, capture_output=True, text=True, timeout=_BUILDING, check=False
        )
    except subprocess.TimeoutExpired:
        return place, f"not built within {_BUILDING:.0f} s"
    if done.returncode:
        return place, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "go build failed"
    (place / "built").touch()
    return place, ""


@asynccontextmanager
async def gateway_tester(
    place: Path, name: str, directory: Path, settings: Mapping[str, Any], *, says: str
) -> AsyncIterator[PeerProcess]:
    """A program of the gateway tester with this configuration, once it has said that it serves."""
    file = directory / f"{name}.yml"
    file.write_text(_yaml(settings))
    async with running([str(place / name), "-config", str(file)], directory / f"{name}.log") as process:
        await process.until_said(says)
        yield process


def _yaml(value: Any, indent: str = "") -> str:
    """What of YAML the gateway tester needs: mappings, lists of mappings, text and numbers."""
    if isinstance(value, Mapping):
        lines = []
        for name, one in value.items():
            nested = isinstance(one, (Mapping, list))
            lines.append(f"{indent}{name}:" + (f"\n{_yaml(one, indent + '  ')}" if nested else f" {_scalar(one)}\n"))
        return "".join(lines)
    return "".join(f"{indent}-\n{_yaml(one, indent + '  ')}" for one in value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
