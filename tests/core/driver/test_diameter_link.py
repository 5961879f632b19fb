"""Diameter connections that are lost: opened again every Tc by whoever opened them (RFC 6733 clauses 2.1 and 5.4.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Command, avp
from ferret.protocols.diameter.capabilities import disconnect_request
from ferret.protocols.diameter.constants import DisconnectCause
from ferret.records.message import Interface, Role
from ferret_core.driver.links.diameter_link import DiameterLink
from ferret_core.nf import Failed, Input, Peer, PeerLost, Received, Send

PGW, PCRF = "127.0.158.4", "127.0.158.9"
TC = 0.05  # seconds


class Heard:
    """What a link brings."""

    def __init__(self) -> None:
        self.events: list[Input] = []
        self._changed = asyncio.Event()

    def __call__(self, event: Input) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, kind: type[Input]) -> Input:
        async with asyncio.timeout(5):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        self.events.remove(event)
                        return event
                self._changed.clear()
                await self._changed.wait()


def pcrf(heard: Heard) -> DiameterLink:
    return DiameterLink(Role.PCRF, PCRF, {PGW: (Role.PGW, Interface.GX)}, heard, listens=True)


def pgw(heard: Heard) -> DiameterLink:
    return DiameterLink(Role.PGW, PGW, {PCRF: (Role.PCRF, Interface.GX)}, heard, listens=False, tc=TC)


def ask(link: DiameterLink, token: int) -> None:
    message = diameter.request(Command.CREDIT_CONTROL, Application.GX, avp.SESSION_ID("s"))
    link.send(Send(Interface.GX, Peer(Role.PCRF), message, token=token))


def run(scenario: Callable[[], object]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def test_a_peer_that_comes_back_is_connected_to_again() -> None:
    async def scenario() -> None:
        server, client = Heard(), Heard()
        first, link = pcrf(server), pgw(client)
        await first.start()
        await link.start()
        await first.stop()
        lost = await client.until(PeerLost)
        assert isinstance(lost, PeerLost)
        assert lost.peer.role is Role.PCRF
        ask(link, 7)
        failed = await client.until(Failed)
        assert isinstance(failed, Failed)
        assert failed.token == 7
        second = pcrf(server)
        again = asyncio.get_running_loop().create_future()
        link.connected = again.set_result
        await second.start()
        assert await asyncio.wait_for(again, 5) is Role.PCRF
        ask(link, 8)
        asked = await server.until(Received)
        assert isinstance(asked, Received)
        answer = diameter.answer(asked.message, avp.RESULT_CODE(2001))  # type: ignore[arg-type]
        second.send(Send(Interface.GX, asked.peer, answer, reply_to=asked.transaction))
        assert isinstance(await client.until(Received), Received)
        await link.stop()
        await second.stop()

    run(scenario)


@pytest.mark.parametrize(("cause", "returns"), [(DisconnectCause.REBOOTING, True), (DisconnectCause.BUSY, False)])
def test_a_peer_that_wants_no_connection_is_left_alone(cause: DisconnectCause, returns: bool) -> None:
    async def scenario() -> None:
        server, client = Heard(), Heard()
        first, link = pcrf(server), pgw(client)
        await first.start()
        await link.start()
        (connection,) = first._connections.values()
        connection.socket.write(disconnect_request(connection.peer.identity, cause).encode())
        await client.until(PeerLost)
        assert bool(link._waits) == returns
        await link.stop()
        await first.stop()

    run(scenario)


def test_nothing_is_tried_after_the_end() -> None:
    async def scenario() -> None:
        client = Heard()
        first, link = pcrf(Heard()), pgw(client)
        await first.start()
        await link.start()
        await first.stop()
        await client.until(PeerLost)
        await link.stop()
        assert all(wait.cancelled() for wait in link._waits.values())

    run(scenario)


AGENT = "127.0.158.7"


def test_several_nfs_are_reached_through_one_agent_and_applications_tell_them_apart() -> None:
    """The agent is played by one connection that speaks Gx and Rx (RFC 6733 clause 2.8.1)."""

    async def scenario() -> None:
        heard, agent_heard = Heard(), Heard()
        behind = [(AGENT, Role.PCSCF, Interface.RX)]
        server = DiameterLink(Role.PCRF, PCRF, {AGENT: (Role.PGW, Interface.GX)}, heard, listens=True, behind=behind)
        there = [(PCRF, Role.HSS, Interface.RX)]  # whoever it is: what counts is that the agent offers Rx too
        agent = DiameterLink(
            Role.AF, AGENT, {PCRF: (Role.PCRF, Interface.GX)}, agent_heard, listens=False, behind=there
        )
        await server.start()
        await agent.start()
        assert server.is_open_to(Role.PGW) and server.is_open_to(Role.PCSCF)
        for interface, command, role in (
            (Interface.GX, Command.CREDIT_CONTROL, Role.PGW),
            (Interface.RX, Command.AA, Role.PCSCF),
        ):
            application = Application.GX if interface is Interface.GX else Application.RX
            message = diameter.request(command, application, avp.SESSION_ID("s"))
            agent.send(Send(interface, Peer(Role.PCRF), message, token=5))
            asked = await heard.until(Received)
            assert isinstance(asked, Received)
            assert (asked.interface, asked.peer.role) == (interface, role)
            order = diameter.request(Command.RE_AUTH, application, avp.SESSION_ID("s"))
            server.send(Send(interface, Peer(role), order, token=9))
            ordered = await agent_heard.until(Received)
            assert isinstance(ordered, Received) and isinstance(ordered.message, diameter.Message)
            answer = diameter.answer(ordered.message, avp.RESULT_CODE(2001))
            agent.send(Send(interface, ordered.peer, answer, reply_to=ordered.transaction))
            answered = await heard.until(Received)
            assert isinstance(answered, Received)
            assert (answered.interface, answered.peer.role, answered.transaction) == (interface, role, 9)
        await agent.stop()
        lost = [await heard.until(PeerLost), await heard.until(PeerLost)]
        assert {one.peer.role for one in lost} == {Role.PGW, Role.PCSCF}
        await server.stop()

    run(scenario)
