"""`ferret core [NF]...`: NFs of the lab's core, and the party that its subscribers call, as a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from random import SystemRandom
from time import monotonic
from typing import Final

import click

from ferret.errors import ConfigError
from ferret.logs import configure
from ferret.records.message import Role
from ferret.signals import until_told_to_stop
from ferret.transport.endpoint import TransportError
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.places import CORE_ROLES, Places
from ferret_core.driver.user_agent import RemoteParty
from ferret_core.ua import Ringing, UaEvent

REMOTE_PARTY: Final = "sip:bob@remote.example"
"""Who answers every call."""

_SERVED: Final = (*CORE_ROLES, Role.REMOTE)
_BY_NAME: Final = {str(role).lower().replace("-", ""): role for role in _SERVED}
_NAMES: Final = ", ".join(_BY_NAME)
_PAUSE: Final = 0.2  # seconds between attempts to reach NFs that are not there yet


@click.command(short_help="Run NFs of the lab's core.")
@click.argument("nfs", metavar="[NF]...", nargs=-1)
@click.option("--network", default="127.0.20.0/24", show_default=True, help="The /24 that holds the core's addresses.")
@click.option(
    "--wait",
    "patience",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds until the NFs that these connect to must be there.",
)
@click.option("--log-level", default="info", show_default=True, help="debug, info, warning or error.")
def core(nfs: tuple[str, ...], network: str, patience: float, log_level: str) -> None:
    """Run NFs of the lab's core: hss, pcrf, mme, sgw, pgw, icscf, scscf, pcscf, or remote; without a name, all.

    Each has the address of its role in the network, .8 (HSS), .9 (PCRF), .2 (MME), .3 (SGW), .4 (PGW), .19 (I-CSCF),
    .20 (S-CSCF), .21 (P-CSCF), .90 (remote); the two /24 behind it are those of UEs, and this machine must have them
    where the PGW is. `remote` is a party on the internet that answers every call. `ferret device` plays a call. Stop it
    with Ctrl-C or SIGTERM.
    """
    roles = tuple(dict.fromkeys(_role(name) for name in nfs)) or _SERVED
    lab = LabNetwork(Places.within(network))
    configure(level=log_level)
    asyncio.run(_serve(lab, roles, patience))


def _role(name: str) -> Role:
    role = _BY_NAME.get(name.strip().lower().replace("-", ""))
    if role is None:
        raise ConfigError(f"no NF of the core is called {name.strip()!r}: {_NAMES}")
    return role


async def _serve(lab: LabNetwork, roles: Iterable[Role], patience: float) -> None:
    stopping = until_told_to_stop()
    async with AsyncExitStack() as stack:
        chosen = [role for role in roles if role is not Role.REMOTE]
        if chosen:
            stack.push_async_callback((await _started(lab, chosen, patience)).stop)
        if Role.REMOTE in roles:
            await stack.enter_async_context(answering_party(lab))
        for role in roles:
            click.echo(f"core {role} at {lab.places.address(role)}")
        await stopping.wait()


async def _started(lab: LabNetwork, roles: Iterable[Role], patience: float) -> CoreSet:
    """The NFs, once those that they connect to over Diameter are there. Raises TransportError, ConfigError."""
    until = monotonic() + patience
    while True:
        made = CoreSet(lab, roles)
        try:
            await made.start()
            return made
        except (TransportError, TimeoutError) as error:
            if monotonic() >= until:
                raise TransportError(f"not every NF could be reached within {patience:g} s: {error}") from error
            await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def answering_party(lab: LabNetwork) -> AsyncIterator[RemoteParty]:
    """The party on the internet: it picks up whenever it is called. Raises TransportError."""
    address, proxy = lab.sip_address(Role.REMOTE), lab.sip_address(Role.ICSCF)
    party = RemoteParty(REMOTE_PARTY, address, proxy, SystemRandom())

    def told(event: UaEvent) -> None:
        if isinstance(event, Ringing) and event.incoming:
            asyncio.get_running_loop().call_soon(party.answer, event.call)

    party.told = told
    await party.start()
    try:
        yield party
    finally:
        party.stop()
