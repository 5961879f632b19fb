"""`ferret device`: an emulated base station and device that play a call at the lab's core."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import SystemRandom
from time import monotonic
from typing import Final

import click

from ferret.errors import FerretError, ProtocolError
from ferret.logs import configure
from ferret.records.message import Role
from ferret.transport.endpoint import TransportError
from ferret_core.commands.core import REMOTE_PARTY
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.device import Cell, Device
from ferret_core.driver.places import Places
from ferret_core.driver.ports import S1AP_PORT
from ferret_core.driver.user_agent import UserAgentDriver
from ferret_core.enb import Enb
from ferret_core.enb.driver import EnbDriver
from ferret_core.ua import Ended, Established, Held, NotRegistered, Registered, Resumed

_PAUSE: Final = 0.5  # seconds between attempts to set up S1


class PlayError(FerretError):
    """The device did not get what it asked for."""

    exit_status = 1


@click.command(short_help="Play a call at the lab's core, by an emulated base station and device.")
@click.option("--network", default="127.0.20.0/24", show_default=True, help="The /24 that holds the core's addresses.")
@click.option(
    "--subscriber", default=0, show_default=True, type=click.IntRange(0, 1), help="Whose device: the first or second."
)
@click.option("--calls", default=1, show_default=True, type=click.IntRange(0, 100), help="How many, one by one.")
@click.option(
    "--pause",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="Seconds from one thing to the next.",
)
@click.option("--hold/--no-hold", default=True, show_default=True, help="Hold and resume each call.")
@click.option(
    "--wait",
    "patience",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds until the MME must be there.",
)
@click.option("--log-level", default="warning", show_default=True, help="debug, info, warning or error.")
def device(
    network: str, subscriber: int, calls: int, pause: float, hold: bool, patience: float, log_level: str
) -> None:
    """Attach, connect to the ims APN, register, call the remote party, hold, resume, hang up, deregister, detach.

    The base station has the address .30 of the network, whose core `ferret core` runs. Exit status: 0 all of it went
    as it should, 1 something did not, which is named.
    """
    lab = LabNetwork(Places.within(network))
    configure(level=log_level)
    asyncio.run(_play(lab, subscriber, calls, (pause, hold), patience))


async def _play(lab: LabNetwork, subscriber: int, calls: int, how: tuple[float, bool], patience: float) -> None:
    station = await _station(lab, patience)
    played = Device(Cell(station), lab, lab.subscribers[subscriber], SystemRandom())
    try:
        with _step("attach"):
            await played.attach()
        with _step("ims PDN connection"):
            await played.connect_ims()
        if played.sip is None:
            raise PlayError("the device has no user agent")
        agent = played.sip
        with _step("registration"):
            agent.register()
            await agent.wait_for(Registered)
        for number in range(calls):
            with _step(f"call {number + 1}"):
                await _call(played, agent, *how)
            click.echo(f"call {number + 1}: established, {'held, resumed, ' if how[1] else ''}ended")
        with _step("deregistration"):
            agent.deregister()
            await agent.wait_for(NotRegistered)
        with _step("detach"):
            await played.detach()
        click.echo("device detached")
    finally:
        played.stop()
        station.stop()


async def _call(played: Device, agent: UserAgentDriver, pause: float, hold: bool) -> None:
    await asyncio.sleep(pause)  # nobody calls at once: the reg event package has time, and so have bearers further down
    name = agent.call(REMOTE_PARTY)
    await agent.wait_for(Established, within=10.0)
    await asyncio.sleep(pause)
    if hold:
        agent.hold(name)
        await agent.wait_for(Held)
        await asyncio.sleep(pause)
        agent.resume(name)
        await agent.wait_for(Resumed)
        await asyncio.sleep(pause)
    agent.hang_up(name)
    await agent.wait_for(Ended)
    await played.cell.driver.until(lambda: not played.dedicated_bearers())


async def _station(lab: LabNetwork, patience: float) -> EnbDriver:
    """The base station, with S1 set up. Raises TransportError, ProtocolError."""
    places, until = lab.places, monotonic() + patience
    mme = places.address(Role.MME)
    while True:
        enb = Enb(address=places.address(Role.ENB), random=SystemRandom(), mme=mme, plmn=lab.plmn, tac=lab.tac)
        station = EnbDriver(enb, mme=(mme, S1AP_PORT))
        try:
            await station.start()
            return station
        except (TransportError, ProtocolError):
            if monotonic() >= until:
                raise
            await asyncio.sleep(_PAUSE)


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise PlayError(f"{name}: the network did not do its part in time") from None
