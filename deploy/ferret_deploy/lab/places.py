"""The places of the lab, such as core, edge, base stations and internet: a network namespace each, joined by the WAN.

Every address of a place's prefixes is its own, as 127.0.0.0/8 is a host's: an NF binds whichever it likes. What leaves
a place goes to the WAN, which knows who is where. A place may have a second port, `sgi0`, behind which its PGW's
subscribers are (SGi, 3GPP TS 29.061).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any, Final, TypeVar

from ferret.errors import ConfigError
from ferret_deploy.lab import netlink
from ferret_deploy.lab.delay_line import Impairment, WanPort
from ferret_deploy.lab.loopback import LoopbackWan, on_loopback
from ferret_deploy.lab.namespace import Namespace, become_root_of_own_network, follow_tasks
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.wan import Attachment, RelayedWan, Wan

_T = TypeVar("_T")
WAN_INTERFACE: Final = "wan0"
SGI_INTERFACE: Final = "sgi0"
_MTU: Final = 1500
_NO_KERNEL: Final = bytes((2, 0xFE, 0, 0, 2, 0))
"""No interface's address: what comes for subscribers is for the PGW, and no kernel will try to forward it."""


@dataclass(frozen=True, slots=True)
class PlaceConfig:
    """A place: its name, the prefixes of its hosts, and those of the subscribers behind its PGW."""

    name: str
    prefixes: tuple[str, ...]
    subscribers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for prefix in (*self.prefixes, *self.subscribers):
            try:
                ip_network(prefix)
            except ValueError as error:
                raise ConfigError(f"place {self.name}: {error}") from error
        if not self.prefixes:
            raise ConfigError(f"place {self.name} has no addresses")


class Place:
    """One place. Sockets opened `inside` it, or by a coroutine that it `run`s, are there."""

    def __init__(self, config: PlaceConfig, namespace: Namespace | None) -> None:
        self.config = config
        self.namespace = namespace  # None: this machine allows no namespaces, and loopback addresses stand in
        self.wan_port = WanPort(config.name, config.prefixes)
        self.sgi_port = WanPort(config.name, config.subscribers)

    @property
    def name(self) -> str:
        """As it was configured."""
        return self.config.name

    def address(self, number: int) -> str:
        """A host of the place's first prefix: number 3 of 10.10.0.0/24 is 10.10.0.3."""
        return str(ip_network(self.config.prefixes[0])[number])

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is here until the block ends. Never await in it."""
        if self.namespace is None:
            yield
        else:
            with self.namespace.inside():
                yield

    async def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Await a coroutine here: its sockets, and those of the tasks that it spawns, are in this place."""
        if self.namespace is None:
            return await coroutine
        follow_tasks(asyncio.get_running_loop())
        return await self.namespace.run(coroutine)


class Places:
    """All places and the WAN between them; a context manager. `why_not`: why they are apart in name only, else ""."""

    def __init__(self, places: Sequence[Place], wan: Wan, *, why_not: str = "") -> None:
        self._places = {place.name: place for place in places}
        self.wan = wan
        self.why_not = why_not

    @classmethod
    def open(
        cls, configs: Sequence[PlaceConfig], links: Mapping[tuple[str, str], Impairment], *, seed: int = 0
    ) -> Places:
        """Make them as well as this machine allows: in namespaces, else on loopback addresses; `why_not` says which.

        To be called before the first thread is started. `links`: impairments by the places from and to.
        Raises ConfigError.
        """
        why_not = become_root_of_own_network()
        if not why_not:
            try:
                return cls.build(configs, links, seed=seed)
            except PlaceError as error:
                why_not = str(error)
        return cls.on_loopback(configs, links, seed=seed, why_not=why_not)

    @classmethod
    def on_loopback(
        cls,
        configs: Sequence[PlaceConfig],
        links: Mapping[tuple[str, str], Impairment],
        *,
        seed: int = 0,
        why_not: str = "asked for",
    ) -> Places:
        """Places in name only: 127.10.0.0/24 stands in for 10.10.0.0/24, and IPv6 is left out. Raises ConfigError."""
        places = [Place(_on_loopback(config), None) for config in configs]
        ports = [port for place in places for port in (place.wan_port, place.sgi_port) if port.prefixes]
        return cls(places, LoopbackWan(ports, links, seed=seed), why_not=why_not)

    @classmethod
    def build(
        cls, configs: Sequence[PlaceConfig], links: Mapping[tuple[str, str], Impairment], *, seed: int = 0
    ) -> Places:
        """Make them. `links`: impairments by the places from and to. Raises PlaceError, ConfigError."""
        with ExitStack() as undo:
            hub = Namespace.create()
            undo.callback(hub.close)
            places = []
            for config in configs:
                namespace = Namespace.create()
                undo.callback(namespace.close)
                places.append(Place(config, namespace))
            attachments = [one for number, place in enumerate(places) for one in _attach(number, place, hub)]
            with hub.inside():
                wan = RelayedWan(attachments, links, seed=seed)
            hub.close()  # the relay's sockets keep it
            undo.pop_all()
        return cls(places, wan)

    def __getitem__(self, name: str) -> Place:
        return self._places[name]

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places.values())

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the WAN and let go of every place; closing again does nothing."""
        self.wan.stop()
        for place in self:
            if place.namespace is not None:
                place.namespace.close()


def _on_loopback(config: PlaceConfig) -> PlaceConfig:
    prefixes, subscribers = (
        tuple(on_loopback(one) for one in prefixes if ip_network(one).version == 4)
        for prefixes in (config.prefixes, config.subscribers)
    )
    return PlaceConfig(config.name, prefixes, subscribers)


def _attach(number: int, place: Place, hub: Namespace) -> list[Attachment]:
    """Lay a place's wires to the hub, and tell the place's kernel which addresses are its own."""
    if place.namespace is None:
        raise ConfigError(f"place {place.name} has no namespace")
    attachments = [_wire(place.wan_port, WAN_INTERFACE, f"w{number}", 2 * number, place.namespace, hub)]
    if place.config.subscribers:
        sgi = _wire(place.sgi_port, SGI_INTERFACE, f"s{number}", 2 * number + 1, place.namespace, hub)
        attachments.append(replace(sgi, far_mac=_NO_KERNEL))
    with place.namespace.inside():
        netlink.set_up("lo")
        for prefix in place.config.prefixes:
            _own(prefix)
    return attachments


def _own(prefix: str) -> None:
    """Bind any address of a prefix; the first one is that of sockets which are not bound."""
    network = ip_network(prefix)
    first = network[1] if network.num_addresses > 1 else network[0]
    netlink.add_local_prefix(prefix)
    if network.version == 6:
        netlink.allow_ipv6_binding()
    netlink.add_address(WAN_INTERFACE, f"{first}/{network.max_prefixlen}")
    netlink.add_route("0.0.0.0/0" if network.version == 4 else "::/0", WAN_INTERFACE, source=str(first))


def _wire(port: WanPort, name: str, near: str, number: int, namespace: Namespace, hub: Namespace) -> Attachment:
    """A pair of interfaces: `near` in the hub, `name` in the place. Locally administered addresses (IEEE 802)."""
    mac, far_mac = bytes((2, 0xFE, 0, 0, 0, number)), bytes((2, 0xFE, 0, 0, 1, number))
    with hub.inside():
        netlink.create_veth(near, mac, peer=name, peer_mac=far_mac, peer_namespace=namespace.file, mtu=_MTU)
        netlink.set_quiet(near)
        netlink.set_up(near)
    with namespace.inside():
        netlink.switch_checksums_on(name)
        netlink.set_quiet(name)
        netlink.set_up(name)
    return Attachment(port, near, mac, far_mac)
