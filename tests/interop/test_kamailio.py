"""Kamailio as P-CSCF, I-CSCF and S-CSCF, in place of some of ours or of all: devices, EPC, HSS and PCRF are ours.

Registration with AKA (Cx by Kamailio's cdp), calls with hold and resume, QoS from our PCRF (Rx by Kamailio's ims_qos).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from ferret.records.message import Role
from ferret.transport.sctp import SctpTransport
from ferret_core.driver.configuration import LabNetwork
from ferret_core.ua import Ended, Held, MessageAnswered, MessageReceived, NotRegistered, Registered, Resumed
from ferret_core.ua.states import WatchState
from tests.interop.peers import kamailio
from tests.interop.peers.ledger import Ledger, Row, row
from tests.interop.peers.process import until
from tests.interop.peers.scene import Starter, scene_with
from tests.interop.peers.wire import Wire
from tests.procedures.conftest import Scene, agent

pytestmark = [pytest.mark.peer("kamailio"), pytest.mark.root, pytest.mark.sctp, pytest.mark.tshark]
CAPTURED = "127.64.0.0/16"
CSCFS = (Role.PCSCF, Role.ICSCF, Role.SCSCF)
# What an I-CSCF sees: it leaves the path of what it has passed on.
INITIAL = frozenset(("REGISTER with AKA", "call", "call from the outside", "MESSAGE", "de-registration"))
_NUMBERS = count()


class Play(Protocol):
    """Plays a scene in which these CSCFs are Kamailio's, and enters into the ledger how it went."""

    def __call__(
        self,
        foreign: tuple[Role, ...],
        act: Callable[[Scene], Awaitable[None]],
        procedures: tuple[str, ...],
        *,
        defines: tuple[str, ...] = (),
    ) -> None: ...


def _rows(lab: LabNetwork, foreign: tuple[Role, ...], procedures: tuple[str, ...]) -> list[Row]:
    """Every interface between a Kamailio and one of our NFs."""
    ims = lab.places.pools["ims"].rpartition(".")[0]  # the first devices have .2 and .3
    found = []

    def add(theirs: Role, ours: str, interface: str, protocol: str, address: str, *what: str) -> None:
        between = (lab.places.address(theirs), address)
        names = {"theirs": str(theirs), "ours": ours, "interface": interface, "protocol": protocol}
        found.append(row("Kamailio", kamailio.version(), procedures=what, between=between, **names))

    for theirs in foreign:
        if theirs is Role.PCSCF:
            add(theirs, "UE", "Gm", "SIP", f"{ims}.2", *procedures)
            add(theirs, "UE", "Gm", "SIP", f"{ims}.3", *procedures)
            add(theirs, "PCRF", "Rx", "Diameter", lab.places.address(Role.PCRF), "AAR", "STR")
        else:
            asked = ("UAR", "LIR") if theirs is Role.ICSCF else ("MAR", "SAR")
            add(theirs, "HSS", "Cx", "Diameter", lab.places.address(Role.HSS), *asked)
        for ours in CSCFS:
            seen = procedures if Role.ICSCF not in (theirs, ours) else tuple(p for p in procedures if p in INITIAL)
            if ours not in foreign:
                add(theirs, str(ours), "Mw", "SIP", lab.places.address(ours), *seen)
    return found


@pytest.fixture(scope="module")
def foreigners() -> set[str]:
    """The addresses that Kamailio had, for whoever looks at the capture."""
    return set()


@pytest.fixture
def play(
    sctp_transport: SctpTransport, ledger: Ledger, wire: Wire, foreigners: set[str], tmp_path: Path
) -> Iterator[Play]:
    """Each play has addresses of its own, so that the capture tells them apart."""

    def run(
        foreign: tuple[Role, ...],
        act: Callable[[Scene], Awaitable[None]],
        procedures: tuple[str, ...],
        *,
        defines: tuple[str, ...] = (),
    ) -> None:
        network = f"127.64.{4 * next(_NUMBERS)}.0/24"

        def start(role: Role) -> Starter:
            return lambda lab: kamailio.kamailio(role, lab, tmp_path, defines)

        async def whole() -> None:
            made = scene_with(sctp_transport, network, without=foreign, peers=[start(role) for role in foreign])
            async with asyncio.timeout(40), made as scene:
                foreigners.update(scene.lab.places.address(role) for role in foreign)
                with ledger.tries(*_rows(scene.lab, foreign, procedures)):
                    await act(scene)

        asyncio.run(whole())

    yield run


async def _call(scene: Scene) -> None:
    """Two devices call each other, hold, resume and hang up; each has its dedicated bearer meanwhile."""
    alice, bob = await scene.registered(0), await scene.registered(1)
    one, other = agent(alice), agent(bob)
    await until(lambda: one.agent.watch.state is other.agent.watch.state is WatchState.ACTIVE)
    name = await scene.call(one, other, scene.uri(1))
    await scene.station.until(lambda: len(alice.dedicated_bearers()) == len(bob.dedicated_bearers()) == 1)
    one.hold(name)
    await other.wait_for(Held)
    await one.wait_for(Held)
    one.resume(name)
    await other.wait_for(Resumed)
    await one.wait_for(Resumed)
    other.hang_up(name)
    await scene.ended(one, other)
    await scene.without_bearers(alice)
    await scene.without_bearers(bob)
    for device in (alice, bob):
        agent(device).deregister()
        await agent(device).wait_for(NotRegistered)
        await device.detach()
    await scene.core.until(lambda: not scene.core.leftovers())


CALL = ("REGISTER with AKA", "reg event", "call", "hold", "resume", "BYE", "de-registration")


@pytest.mark.parametrize(
    "foreign",
    [CSCFS, (Role.ICSCF, Role.SCSCF), (Role.PCSCF,), (Role.PCSCF, Role.SCSCF), (Role.PCSCF, Role.ICSCF)],
    ids=lambda roles: "+".join(roles),
)
def test_devices_register_call_hold_and_resume(play: Play, foreign: tuple[Role, ...]) -> None:
    play(foreign, _call, CALL)


@pytest.mark.parametrize("foreign", [CSCFS, (Role.PCSCF,)], ids=lambda roles: "+".join(roles))
def test_a_whole_life_with_calls_from_and_to_the_outside(play: Play, foreign: tuple[Role, ...]) -> None:
    async def act(scene: Scene) -> None:
        await scene.whole_life()

    play(foreign, act, ("call to the outside", "call from the outside"))


def test_a_sequence_number_out_of_range_is_repaired(play: Play) -> None:
    """The device answers with AUTS, Kamailio hands it to our HSS, which goes on where the device is (TS 33.102)."""

    async def act(scene: Scene) -> None:
        device = scene.device(0)
        await device.attach()
        await device.connect_ims()
        device.usim.sqn += 1 << 20
        agent(device).register()
        await agent(device).wait_for(Registered)

    play(CSCFS, act, ("resynchronisation",))


def test_a_caller_gives_up_and_a_called_party_is_busy(play: Play) -> None:
    async def act(scene: Scene) -> None:
        alice, bob = await scene.registered(0), await scene.registered(1)
        one, other = agent(alice), agent(bob)
        name = one.call(scene.uri(1))
        await scene.station.until(lambda: len(bob.dedicated_bearers()) == 1)
        one.hang_up(name)
        ends = await scene.ended(one, other)
        assert [str(one.reason) for one in ends] == ["cancelled", "cancelled"]
        await scene.without_bearers(alice)
        await scene.without_bearers(bob)
        two = one.call(scene.uri(1))
        await scene.station.until(lambda: len(bob.dedicated_bearers()) == 1)
        other.reject(two)
        end = await one.wait_for(Ended)
        assert (str(end.reason), end.status) == ("busy", 486)
        await scene.without_bearers(bob)

    play(CSCFS, act, ("CANCEL", "486"))


@pytest.mark.parametrize("foreign", [CSCFS, (Role.ICSCF, Role.SCSCF), (Role.PCSCF,)], ids=lambda roles: "+".join(roles))
def test_short_messages_go_either_way(play: Play, foreign: tuple[Role, ...]) -> None:
    async def act(scene: Scene) -> None:
        devices = await scene.registered(0), await scene.registered(1)
        one, other = (agent(device) for device in devices)
        for sender, receiver, number in ((one, other, 1), (other, one, 0)):
            name = sender.message(scene.uri(number), "Grüße")
            assert (await receiver.wait_for(MessageReceived)).text == "Grüße"
            assert await sender.wait_for(MessageAnswered) == MessageAnswered(name, 200)

    play(foreign, act, ("MESSAGE",))


def test_signalling_has_a_session_of_its_own_with_our_pcrf(play: Play) -> None:
    """Kamailio's P-CSCF asks for it when a device registers, and gives it up when that leaves (TS 29.214 4.4.5)."""

    async def act(scene: Scene) -> None:
        device = await scene.registered(0)
        pcrf = scene.core.nfs[Role.PCRF].node.nf
        assert pcrf.leftovers()["rx_sessions"] == 1
        agent(device).deregister()
        await agent(device).wait_for(NotRegistered)
        await scene.core.until(lambda: pcrf.leftovers()["rx_sessions"] == 0)

    play((Role.PCSCF,), act, ("AAR for signalling",), defines=("SIGNALLING",))


def test_tshark_finds_nothing_wrong_in_what_we_sent(wire: Wire, ledger: Ledger, foreigners: set[str]) -> None:
    reading = wire.read()
    ledger.count(reading)
    ledger.faults += [f"Kamailio: {found}" for one in foreigners for found in reading.faults.get(one, [])]
    assert reading.faults_of(foreigners) == []
