"""SIPp as both UEs, through our P-CSCF, I-CSCF and S-CSCF: with retransmissions, and with messages out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from ferret.records.message import Role
from ferret_core.driver.configuration import LabNetwork, LabSubscriber
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.places import Places
from ferret_core.scscf import Scscf
from tests.interop.peers import sipp
from tests.interop.peers.ledger import Ledger, row
from tests.interop.peers.sipp import succeeded
from tests.interop.peers.wire import Wire

pytestmark = [pytest.mark.peer("sipp"), pytest.mark.root, pytest.mark.tshark]
CAPTURED: Final = "127.67.0.0/16"
ROLES: Final = (Role.HSS, Role.PCRF, Role.PCSCF, Role.ICSCF, Role.SCSCF)
# SIPp takes K and OP as text that a zero octet ends: these IMSIs give keys without one.
SUBSCRIBERS: Final = (
    LabSubscriber("001011111111111", "491711111111"),
    LabSubscriber("001011111111112", "491711111112"),
)
# SIPp 3.6.1 takes RES, too, as text that a zero octet ends: with this seed the HSS gives vectors without one.
SEED: Final = 1
_NUMBERS = count()


@dataclass(frozen=True)
class _ImsNetwork(LabNetwork):
    """The operator's IMS without an EPC below it: the P-CSCF has nobody to ask for bearers."""

    def context_of(self, role: Role) -> Mapping[str, Any]:
        """As the lab's, but no Rx."""
        context = dict(super().context_of(role))
        return {**context, "profile": {**context["profile"], "rx": None}} if role is Role.PCSCF else context


@dataclass
class Stage:
    """Our IMS and the places of two UEs."""

    lab: LabNetwork
    core: CoreSet
    directory: Path

    def address(self, number: int) -> str:
        """The address of a UE."""
        return f"{self.lab.places.address(Role.PCSCF).rpartition('.')[0]}.{101 + number}"

    def ue(self, scenario: str, number: int, *, calls: int = 1, **values: str) -> Any:
        """A UE that plays a scenario; the other one is its peer."""
        scscf = self.core.nfs[Role.SCSCF].node.nf
        assert isinstance(scscf, Scscf)
        proxy = self.lab.sip_address(Role.PCSCF)
        route = f"<sip:{proxy};lr>, {scscf.own_uri(scscf.habits.service_route)}"
        filled = {"PEER": SUBSCRIBERS[1 - number].msisdn, "ROUTE": route, **values}
        own, address = SUBSCRIBERS[number], self.address(number)
        return sipp.sipp(scenario, self.lab, own, address, proxy, self.directory, calls=calls, values=filled)

    async def register(self, number: int, seconds: int = 3600) -> None:
        """Register a UE with AKA; 0 seconds: let it leave."""
        place = self.directory / f"for {seconds} s"
        place.mkdir(exist_ok=True)
        stage = Stage(self.lab, self.core, place)
        async with stage.ue("register", number, EXPIRES=str(seconds)) as process:
            await succeeded(process)

    async def act(self, caller: str, called: str, *, calls: int = 1) -> None:
        """Both UEs play, the called one first."""
        async with AsyncExitStack() as both:
            other = await both.enter_async_context(self.ue(called, 1, calls=calls))
            one = await both.enter_async_context(self.ue(caller, 0, calls=calls))
            await succeeded(one)
            await succeeded(other)


Play = Callable[[Callable[[Stage], Awaitable[None]], tuple[str, ...]], None]


@pytest.fixture
def play(ledger: Ledger, wire: Wire, tmp_path: Path) -> Iterator[Play]:
    """Plays on a stage of its own; both UEs are registered before, and leave afterwards; then nothing is left."""

    def run(act: Callable[[Stage], Awaitable[None]], procedures: tuple[str, ...]) -> None:
        lab = _ImsNetwork(Places.loopback(f"127.67.{4 * next(_NUMBERS)}.0/24"), SUBSCRIBERS)
        core = CoreSet(lab, ROLES, random=lambda role: Random(f"{role} {SEED}"))
        stage = Stage(lab, core, tmp_path)

        async def whole() -> None:
            async with asyncio.timeout(60), core:
                for number in (0, 1):
                    await stage.register(number)
                await act(stage)
                for number in (0, 1):
                    await stage.register(number, 0)
                left = core.leftovers()
                assert set(left) <= {"HSS"} and not left.get("HSS", {}).get("registered"), left

        pcscf = lab.places.address(Role.PCSCF)
        rows = [
            row(
                "SIPp",
                sipp.version(),
                theirs="UE",
                ours="P-CSCF",
                interface="Gm",
                protocol="SIP",
                procedures=("REGISTER with AKA", *procedures),
                between=(stage.address(number), pcscf),
            )
            for number in (0, 1)
        ]
        with ledger.tries(*rows):
            asyncio.run(whole())

    yield run


def test_calls_with_hold_and_resume(play: Play) -> None:
    async def act(stage: Stage) -> None:
        await stage.act("caller", "called", calls=10)

    play(act, ("10 calls", "hold", "resume"))


def test_whatever_is_not_answered_is_repeated(play: Play, wire: Wire) -> None:
    """The P-CSCF repeats the INVITE for a called party that is slow, and passes on each repeated 200."""
    made: list[Stage] = []

    async def act(stage: Stage) -> None:
        made.append(stage)
        await stage.act("caller_slow", "called_slow")

    play(act, ("retransmission",))
    stage = made[0]
    pcscf = stage.lab.places.address(Role.PCSCF)
    to_called = f"sip.Method == INVITE && ip.src == {pcscf} && ip.dst == {stage.address(1)}"
    # After 0 and 500 ms; the answers come after 1200 ms, and the next would after 1500: a slow machine may see it.
    assert wire.count(to_called) in (2, 3)
    to_caller = f"sip.Status-Code == 200 && sip.CSeq.method == INVITE && ip.dst == {stage.address(0)}"
    assert wire.count(to_caller) >= 2


def test_messages_that_overtake_each_other_do_no_harm(play: Play) -> None:
    async def act(stage: Stage) -> None:
        await stage.act("caller_disordered", "called_disordered")

    play(act, ("180 after 200", "BYE before ACK"))


def test_a_caller_gives_up_while_it_rings(play: Play) -> None:
    async def act(stage: Stage) -> None:
        await stage.act("caller_cancels_ringing", "called_cancelled")

    play(act, ("CANCEL",))


def test_a_caller_gives_up_before_anybody_was_called(play: Play) -> None:
    """The CANCEL finds the INVITE waiting for the HSS: the called party, who is not there, is never asked."""

    async def act(stage: Stage) -> None:
        hss = stage.core.nfs[Role.HSS].node
        at_once, loop = hss.emit, asyncio.get_running_loop()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hss, "emit", lambda outputs: loop.call_later(0.5, at_once, outputs))
            async with stage.ue("caller_cancels", 0) as process:
                await succeeded(process)

    play(act, ("CANCEL at once",))


def test_a_short_message_arrives(play: Play) -> None:
    async def act(stage: Stage) -> None:
        await stage.act("messenger", "messaged")

    play(act, ("MESSAGE",))


def test_a_stranger_in_a_dialog_is_told_so(play: Play) -> None:
    async def act(stage: Stage) -> None:
        async with stage.ue("stranger", 0) as process:
            await succeeded(process)

    play(act, ("481",))


def test_what_no_proxy_can_do_is_refused_with_420(play: Play) -> None:
    """Proxy-Require (RFC 3261 clause 16.3); the response says in Unsupported what it is."""

    async def act(stage: Stage) -> None:
        async with stage.ue("requirer", 0) as process:
            await succeeded(process)

    play(act, ("420",))


def test_tshark_finds_nothing_wrong_in_what_we_sent(wire: Wire, ledger: Ledger) -> None:
    reading = wire.read()
    ledger.count(reading)
    foreign = [one for one in reading.faults if one.endswith((".101", ".102"))]
    ledger.faults += [f"SIPp: {found}" for one in foreign for found in reading.faults[one]]
    assert reading.faults_of(foreign) == []
