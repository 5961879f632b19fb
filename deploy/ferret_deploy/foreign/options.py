"""The options with which foreign NFs are named, for every command that replays at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from ipaddress import ip_address, ip_network
from pathlib import Path
from socket import SOCK_DGRAM, socket
from typing import Any, Final, TypeVar

import click

from ferret.errors import ConfigError
from ferret.records.message import Role
from ferret.replay.foreign.targets import DEFAULT_NETWORK, NAMES, ForeignSetting, StandIns, read_setting
from ferret.replay.rules import Rules
from ferret.transport.endpoint import family_of
from ferret.transport.sctp import choose
from ferret_deploy.foreign.diameter_line import DiameterTimes
from ferret_deploy.foreign.run import ForeignOptions

Command = TypeVar("Command", bound=Callable[..., Any])
Progress = Callable[[str, int, int], None]
_NAMES: Final = ("target", "edge", "local", "identity", "config", "t3", "n3", "wait", "sctp")
_ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class ForeignArguments:
    """What was said on the command line about foreign NFs."""

    targets: tuple[str, ...] = ()
    edge: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    config: Path | None = None
    t3: float = 3.0
    n3: int = 3
    wait: float = 35.0
    sctp: str = "auto"

    @property
    def given(self) -> bool:
        """Whether anything is said of foreign NFs."""
        return bool(self.targets or self.config or self.edge or self.local or self.identities)

    def setting(self) -> ForeignSetting:
        """Targets and stand-ins. Raises ConfigError."""
        setting = read_setting(self.targets, self.local, self.identities, self._text())
        if not setting.targets:
            raise ConfigError("no target: --target NF=ADDRESS, or [targets] in the configuration")
        return setting if self.local else _reachable(setting)

    def options(self, rules: Rules, progress: Progress = lambda recording, done, total: None) -> ForeignOptions:
        """How to replay. Raises ConfigError."""
        setting = self.setting()
        return ForeignOptions(
            rules,
            setting,
            edge=None if _ALL in self.edge else frozenset(map(_edge_role, self.edge)),
            t3=self.t3,
            n3=self.n3,
            diameter=DiameterTimes(wait=self.wait),
            sctp=choose(self.sctp).transport if Role.MME in setting.roles else None,
            progress=progress,
        )

    def _text(self) -> str:
        if self.config is None:
            return ""
        try:
            return self.config.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {self.config}: {error}") from error


def foreign_options(command: Command) -> Command:
    """Adds the options, and gives the command what they say as `foreign`."""

    @wraps(command)
    def wrapped(**values: Any) -> Any:
        return command(foreign=_arguments(values), **values)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


def _arguments(values: dict[str, Any]) -> ForeignArguments:
    said: Mapping[str, Any] = {name: values.pop(name) for name in _NAMES}
    return ForeignArguments(
        tuple(said["target"]),
        tuple(said["edge"]),
        tuple(said["local"]),
        tuple(said["identity"]),
        said["config"],
        said["t3"],
        said["n3"],
        said["wait"],
        said["sctp"],
    )


def _edge_role(name: str) -> Role:
    role = NAMES.get(name.lower().replace("-", ""))
    if role is None:
        raise ConfigError(f"--edge {name}: no edge NF is that; there are {', '.join(NAMES)} and all")
    return role


def _reachable(setting: ForeignSetting) -> ForeignSetting:
    """Stand-ins where the targets can reach them: beside loopback targets on loopback, else at this host's address."""
    if setting.stand_ins.network != DEFAULT_NETWORK:
        return setting
    near = ip_network(DEFAULT_NETWORK).version
    addresses = [ip_address(target.address) for target in setting.targets]
    far = [str(one) for one in addresses if not one.is_loopback or one.version != near]
    if not far:
        return setting
    with socket(family_of(far[0]), SOCK_DGRAM) as probe:
        try:
            probe.connect((far[0], 9))  # sends nothing: asks the kernel which address it would send from
        except OSError as error:
            raise ConfigError(f"no way to {far[0]}: {error.strerror}; --local says where stand-ins are") from error
        address = probe.getsockname()[0]
    return ForeignSetting(setting.targets, StandIns(address, setting.stand_ins.places, setting.stand_ins.identities))


_OPTIONS: Final = (
    click.option("--target", multiple=True, metavar="NF=ADDRESS[:PORT]", help="Replay at this foreign NF; repeatable."),
    click.option(
        "--edge",
        multiple=True,
        metavar="NF|all",
        help="This NF beside the targets is one of FERRET's edge NFs, not a stand-in; repeatable.",
    ),
    click.option(
        "--local",
        multiple=True,
        metavar="CIDR|ADDRESS|NF=ADDRESS[:PORT]",
        help=f"Where FERRET stands in for the NFs around the targets (default: {DEFAULT_NETWORK}).",
    ),
    click.option(
        "--identity", multiple=True, metavar="NF=HOST", help="Origin-Host of a stand-in (default: as recorded)."
    ),
    click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="TOML file with [targets], [local] and [identities].",
    ),
    click.option(
        "--t3",
        default=3.0,
        show_default=True,
        type=click.FloatRange(0.05, 60),
        help="GTPv2-C T3-RESPONSE towards targets, seconds.",
    ),
    click.option(
        "--n3", default=3, show_default=True, type=click.IntRange(1, 10), help="GTPv2-C N3-REQUESTS towards targets."
    ),
    click.option(
        "--wait",
        default=35.0,
        show_default=True,
        type=click.FloatRange(0.1, 600),
        help="Seconds until Diameter connections with targets must be up.",
    ),
    click.option(
        "--sctp",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "kernel", "usrsctp", "usrsctp-udp"]),
        help="SCTP towards a target MME.",
    ),
)
