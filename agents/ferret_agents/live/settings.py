"""The configuration of `ferret agent`: one TOML file, then FERRET_*, then flags; all faults reported together.

Everything that the file may say (docs/agents.md explains it):

    queue = "/ferret"                  # of the recorder: a POSIX queue, or redis://HOST[:PORT][/DATABASE]
    http = "127.0.0.1:9101"            # /healthz and /metrics
    user = "ferret"                    # who to be once the sockets are open
    drain_s = 5.0
    log_level = "info"

    [buffer]                           # while the queue is full
    memory_mb = 64
    spill_directory = "/var/spool/ferret"
    spill_mb = 256

    [interface.eth0]                   # one section for each interface
    addresses = ["192.0.2.1"]          # of the NF beside which it stands; none: everybody's
    ports = [2123, 3868, 5060, 5061, 36412]  # none: every port
    filter = "not host 192.0.2.99"     # pcap-filter(7), beside addresses and ports
    name = "192.0.2.1"
    mirror = false
    capture = "buffered"               # or "immediate"
    period_ms = 2
    kernel_mb = 8
    processes = 1
    netns = "/proc/4711/ns/net"        # a container's; or a name of ip netns
    device = "eth0"                    # where the section has another name: several NFs on one interface

    [names]                            # what NFs are called in pcapng files
    "192.0.2.1" = "MME"

    [pcapng]
    directory = "/var/lib/ferret/pcapng"
    file_mb = 100
    files = 10

    [hep]
    host = "192.0.2.200"
    port = 9060
    transport = "udp"
    capture_id = 2001
    key = ""
    other_type = 100
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ferret.errors import ConfigError
from ferret.logs import LEVELS
from ferret_agents.live.agent import AgentConfig, Capture
from ferret_agents.live.filter import DEFAULT_PORTS
from ferret_agents.live.hep import HepConfig
from ferret_agents.live.outbox import BufferLimits
from ferret_agents.live.pcapng_files import FilesConfig
from ferret_agents.live.ring import PERIOD_MS

DEFAULT_QUEUE: Final = "/ferret"
_MEGABYTE: Final = 1 << 20
_MESSAGES_A_MEGABYTE: Final = 2000
_MOST_PROCESSES: Final = 16
_MOST_SECTIONS: Final = 16

# What a key may be: a type, then the least and the largest of a number, or the values that there are.
_Kind = tuple[Any, ...]
_TOP: Final[Mapping[str, _Kind]] = {
    "queue": (str,), "http": (str,), "user": (str,), "drain_s": (float, 0, 3600), "log_level": (str, LEVELS),
}  # fmt: skip
_BUFFER: Final[Mapping[str, _Kind]] = {
    "memory_mb": (int, 1, 1 << 20), "spill_directory": (str,), "spill_mb": (int, 1, 1 << 20),
}  # fmt: skip
_INTERFACE: Final[Mapping[str, _Kind]] = {
    "device": (str,), "devices": (list, str), "addresses": (list, str), "ports": (list, int), "filter": (str,),
    "name": (str,),
    "mirror": (bool,), "capture": (str, tuple(Capture)), "period_ms": (int, 1, 1000), "kernel_mb": (int, 1, 1024),
    "processes": (int, 1, _MOST_PROCESSES), "netns": (str,),
}  # fmt: skip
_PCAPNG: Final[Mapping[str, _Kind]] = {"directory": (str,), "file_mb": (int, 1, 1 << 20), "files": (int, 1, 1 << 20)}
_HEP: Final[Mapping[str, _Kind]] = {
    "host": (str,), "port": (int, 1, 65535), "transport": (str, ("udp", "tcp")), "capture_id": (int, 0, 0xFFFFFFFF),
    "key": (str,), "other_type": (int, 0, 255),
}  # fmt: skip
_SECTIONS: Final = {"buffer": _BUFFER, "pcapng": _PCAPNG, "hep": _HEP}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the process does. `agents`: one for each section, and each process of it."""

    agents: tuple[AgentConfig, ...]
    queue: str = DEFAULT_QUEUE
    http: tuple[str, int] | None = None
    user: str = ""
    drain_s: float = 5.0
    log_level: str = "info"

    @property
    def processes(self) -> int:
        """How many processes share the frames."""
        return 1 + max((agent.process & _PROCESS_BITS for agent in self.agents), default=0)


_PROCESS_BITS: Final = 0x0F  # of an epoch's last 8 bits: which process; the others: which section


class _Reader:
    """Reads tables by their kinds and collects what is wrong."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def table(self, table: object, kinds: Mapping[str, _Kind], where: str) -> dict[str, Any]:
        """The known keys of a table with right values."""
        if not isinstance(table, dict):
            self.faults.append(f"{where} is no table")
            return {}
        found = {}
        for key, value in table.items():
            name = f"{where}.{key}" if where else str(key)
            kind = kinds.get(key)
            if kind is None:
                self.faults.append(f"{name} is not known")
            elif self._fits(value, kind, name):
                found[key] = value
        return found

    def _fits(self, value: object, kind: _Kind, name: str) -> bool:
        wanted, *limits = kind
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            self.faults.append(f"{name}: {_NAMES[wanted]} is wanted, not {value!r}")
            return False
        if isinstance(value, list):
            fit = [self._fits(one, (limits[0],), name) for one in value]  # all of them: every fault is wanted
            return all(fit)
        if isinstance(value, (int, float)) and limits and not limits[0] <= value <= limits[1]:
            self.faults.append(f"{name} lies between {limits[0]} and {limits[1]}, not at {value}")
            return False
        if isinstance(value, str) and limits and value not in limits[0]:
            self.faults.append(f"{name} is one of {', '.join(limits[0])}, not {value!r}")
            return False
        return True


_NAMES: Final = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}


def load(
    path: Path, environment: Mapping[str, str] = os.environ, flags: Mapping[str, object] | None = None
) -> Settings:
    """Read a file, then FERRET_* of the environment, then flags ({"queue": …}). Raises ConfigError with every fault."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from None
    try:
        return read(document, environment, flags)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def read(
    document: Mapping[str, Any], environment: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Settings:
    """The same of a document that is read already."""
    reader = _Reader()
    merged = _with_environment(document, environment or {}, reader)
    merged.update(flags or {})
    names = merged.pop("names", {})
    interfaces = merged.pop("interface", {})
    present = merged.keys() & _SECTIONS.keys()
    sections = {name: reader.table(merged.pop(name, {}), kinds, name) for name, kinds in _SECTIONS.items()}
    top = reader.table(merged, _TOP, "")
    common = _common(sections, present, _names(names, reader), reader)
    agents: list[AgentConfig] = []
    if not isinstance(interfaces, dict) or not interfaces:
        reader.faults.append("there is no [interface.NAME] section")
    else:
        for place, (name, table) in enumerate(interfaces.items()):
            agents += _agents(name, place, reader.table(table, _INTERFACE, f"interface.{name}"), common, reader)
    http = _host_and_port(top.pop("http", ""), reader)
    if reader.faults:
        raise ConfigError("; ".join(reader.faults))
    return Settings(tuple(agents), http=http, **top)


def _with_environment(document: Mapping[str, Any], environment: Mapping[str, str], reader: _Reader) -> dict[str, Any]:
    """FERRET_QUEUE, FERRET_BUFFER_MEMORY_MB and so on in place of what the file says."""
    merged: dict[str, Any] = {key: dict(one) if isinstance(one, dict) else one for key, one in document.items()}
    for section, kinds in (("", _TOP), *_SECTIONS.items()):
        for key, kind in kinds.items():
            name = "_".join(("FERRET", *([section] if section else []), key)).upper()
            if name not in environment:
                continue
            try:
                value = kind[0](environment[name])
            except ValueError:
                reader.faults.append(f"{name}: {_NAMES[kind[0]]} is wanted, not {environment[name]!r}")
                continue
            if section:
                merged.setdefault(section, {})[key] = value
            else:
                merged[key] = value
    return merged


def _names(names: object, reader: _Reader) -> dict[str, str]:
    found = {}
    for address, name in names.items() if isinstance(names, dict) else ():
        try:
            found[ipaddress.ip_address(address).compressed] = str(name)
        except ValueError:
            reader.faults.append(f"names: {address!r} is not an IP address")
    return found


def _common(
    sections: Mapping[str, dict[str, Any]], present: Set[str], names: dict[str, str], reader: _Reader
) -> dict[str, Any]:
    """What all agents of the process share."""
    buffer, pcapng, hep = sections["buffer"], sections["pcapng"], sections["hep"]
    memory = buffer.get("memory_mb", 64)
    found: dict[str, Any] = {"buffer": BufferLimits(memory * _MESSAGES_A_MEGABYTE, memory * _MEGABYTE)}
    if "spill_directory" in buffer:
        found["spill_directory"] = Path(buffer["spill_directory"])
        found["spill_octets"] = buffer.get("spill_mb", 256) * _MEGABYTE
    if "pcapng" in present and "directory" not in pcapng:
        reader.faults.append("pcapng.directory is missing")
    elif pcapng:
        size = pcapng.get("file_mb", 100) * _MEGABYTE
        found["files"] = FilesConfig(Path(pcapng["directory"]), size, pcapng.get("files", 10), names)
    if "hep" in present and "host" not in hep:
        reader.faults.append("hep.host is missing")
    elif hep:
        found["hep"] = HepConfig(**{"port": 9060, **hep})
    return found


def _agents(
    name: str, place: int, table: dict[str, Any], common: Mapping[str, Any], reader: _Reader
) -> list[AgentConfig]:
    """The agents of a section, one for each process."""
    processes = table.get("processes", 1)
    try:
        config = AgentConfig(
            interfaces=tuple(table.get("devices", ())) or (table.get("device", name),),
            addresses=tuple(table.get("addresses", ())),
            ports=tuple(table.get("ports", DEFAULT_PORTS)),
            mirrored=table.get("mirror", False),
            name=table.get("name", ""),
            receive_buffer=table.get("kernel_mb", 8) * _MEGABYTE,
            capture=Capture(table.get("capture", Capture.IMMEDIATE)),
            period_ms=table.get("period_ms", PERIOD_MS),
            filter=table.get("filter", ""),
            netns=table.get("netns", ""),
            **common,
        )
        config.wanted  # noqa: B018 - says what is wrong with addresses and ports
    except ConfigError as error:
        reader.faults.append(f"interface.{name}: {error}")
        return []
    if place >= _MOST_SECTIONS:
        reader.faults.append(f"interface.{name}: at most {_MOST_SECTIONS} sections")
        return []
    fanout = (os.getpid() + place) & 0xFFFF if processes > 1 else None
    return [replace(config, process=place << 4 | number, fanout=fanout) for number in range(processes)]


def of_process(settings: Settings, number: int) -> tuple[AgentConfig, ...]:
    """The agents that run in one of the processes."""
    return tuple(agent for agent in settings.agents if agent.process & _PROCESS_BITS == number)


def _host_and_port(text: str, reader: _Reader) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        reader.faults.append(f"http {text}: host and port are wanted, such as 127.0.0.1:9101")
        return None
    return host.strip("[]") or "127.0.0.1", int(port)
