"""Kamailio as P-CSCF, I-CSCF and S-CSCF (Debian: kamailio, kamailio-ims-modules, kamailio-presence-modules)."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final

from ferret.protocols.diameter import Application
from ferret.records.message import Role
from ferret_core.driver.configuration import LabNetwork
from tests.interop.peers.process import PeerProcess, program, running

CONFIGURATION: Final = Path(__file__).parents[3] / "deploy" / "kamailio" / "configuration"
_NAMES: Final = {Role.PCSCF: "pcscf", Role.ICSCF: "icscf", Role.SCSCF: "scscf"}
_DIAMETER: Final = {
    Role.PCSCF: (Role.PCRF, Application.RX),
    Role.ICSCF: (Role.HSS, Application.CX),
    Role.SCSCF: (Role.HSS, Application.CX),
}
# Kamailio has no option for where host names are looked up: it gets its own /etc/hosts, and no name server.
_OWN_NAMES: Final = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'


@cache
def version() -> str:
    """The version of the Kamailio that is installed; "" without one."""
    path = program("kamailio")
    if path is None:
        return ""
    said = subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version: kamailio ([\w.]+)", said)
    return found.group(1) if found else "?"


@asynccontextmanager
async def kamailio(
    role: Role, lab: LabNetwork, directory: Path, defines: Sequence[str] = ()
) -> AsyncIterator[PeerProcess]:
    """A Kamailio in the place of one of the lab's CSCFs, once it answers. `defines`: what its configuration may ask."""
    path = program("kamailio")
    assert path is not None
    place = directory / _NAMES[role]
    _prepare(role, lab, place)
    kamailio_command = [path, "-DD", "-E", "-f", str(place / f"{_NAMES[role]}.cfg"), "-m", "64", "-M", "8"]
    kamailio_command += [word for one in defines for word in ("-A", one)]
    kamailio_command += ["-Y", str(place), "-w", str(place)]
    command = ["unshare", "--mount", "sh", "-c", _OWN_NAMES, str(place), *kamailio_command]
    async with running(command, place / "log") as process:
        await process.until(lambda: _answers(lab.places.address(role)), what="answering OPTIONS")
        yield process


def _prepare(role: Role, lab: LabNetwork, place: Path) -> None:
    shutil.copytree(CONFIGURATION, place)
    values = _values(role, lab, place)
    for file in place.rglob("*"):
        if file.is_file():
            text = file.read_text()
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            file.write_text(text)
    names = {
        **{lab.host(one): lab.places.address(one) for one in (*_NAMES, Role.HSS, Role.PCRF)},
        **{f"{_NAMES[one]}.{lab.ims_domain}": lab.places.address(one) for one in _NAMES},
        lab.ims_domain: lab.places.address(Role.ICSCF),
        "localhost": "127.0.0.1",
    }
    (place / "hosts").write_text("".join(f"{address} {name}\n" for name, address in names.items()))
    (place / "resolv.conf").write_text(f"nameserver {lab.places.address(Role.ENB)}\noptions timeout:1 attempts:1\n")


def _values(role: Role, lab: LabNetwork, place: Path) -> Mapping[str, str]:
    peer, application = _DIAMETER[role]
    return {
        "ROLE": str(role),
        "DIRECTORY": str(place),
        "ADDRESS": lab.places.address(role),
        "ICSCF": lab.places.address(Role.ICSCF),
        "REMOTE": lab.places.address(Role.REMOTE),
        "NAME": f"scscf.{lab.ims_domain}",
        "DOMAIN": lab.ims_domain,
        "HOST": lab.host(role),
        "REALM": lab.realm,
        "PEER": lab.host(peer),
        "APPLICATION": str(int(application)),
    }


def _answers(address: str) -> bool:
    """Whether a SIP server answers OPTIONS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.bind((address.rpartition(".")[0] + ".250", 0))
        asker.settimeout(0.02)
        host, port = asker.getsockname()
        via = f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bKready{port}"
        ends = f"From: <sip:ready@{host}>;tag=1\r\nTo: <sip:{address}>\r\nCall-ID: ready{port}\r\nCSeq: 1 OPTIONS"
        text = f"OPTIONS sip:{address} SIP/2.0\r\n{via}\r\n{ends}\r\nMax-Forwards: 9\r\nContent-Length: 0\r\n\r\n"
        try:
            asker.sendto(text.encode(), (address, 5060))
            return asker.recv(2048).startswith(b"SIP/2.0 200")
        except OSError:
            return False
