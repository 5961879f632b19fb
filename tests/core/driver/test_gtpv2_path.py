"""Path management on sockets: peers that have been heard are asked whether they are there (TS 23.007 clause 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ferret.protocols import gtpv2
from ferret.protocols.gtpv2 import MessageType
from ferret.records.message import Interface, Role
from ferret_core.driver.links.gtpv2_link import Gtpv2Link
from ferret_core.nf import Input, Peer, PeerLost, Received, Send

MME, SGW = "127.0.157.2", "127.0.157.3"


async def _until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.001)


def _sgw(heard: list[Input], restart_counter: int) -> Gtpv2Link:
    peers = {MME: (Role.MME, Interface.S11)}
    return Gtpv2Link(SGW, peers, heard.append, restart_counter=restart_counter)


def _ask(link: Gtpv2Link) -> None:
    message = gtpv2.request(MessageType.CREATE_SESSION_REQUEST, 0)
    link.send(Send(Interface.S11, Peer(Role.SGW), message, token=1))


def test_a_peer_that_has_restarted_is_noticed() -> None:
    async def scenario() -> None:
        at_mme: list[Input] = []
        at_sgw: list[Input] = []
        peers = {SGW: (Role.SGW, Interface.S11)}
        mme = Gtpv2Link(MME, peers, at_mme.append, echo_every=0.02)
        first = _sgw(at_sgw, 255)
        await mme.start()
        await first.start()
        _ask(mme)
        await _until(lambda: at_sgw)
        asked = at_sgw[0]
        assert isinstance(asked, Received) and isinstance(asked.message, gtpv2.Message)
        first.send(Send(Interface.S11, Peer(Role.MME), gtpv2.answer(asked.message, 0), reply_to=asked.transaction))
        await _until(lambda: at_mme)
        await _until(lambda: mme._endpoint._restart_counters)  # an echo has been answered
        await first.stop()
        second = _sgw(at_sgw, 256)  # one octet: it begins anew
        await second.start()
        await _until(lambda: any(isinstance(one, PeerLost) for one in at_mme))
        lost = next(one for one in at_mme if isinstance(one, PeerLost))
        assert (lost.interface, lost.peer, lost.reason) == (Interface.S11, Peer(Role.SGW, SGW), "PeerRestarted")
        await second.stop()
        await mme.stop()

    asyncio.run(scenario())


def test_nobody_is_asked_who_was_never_heard() -> None:
    async def scenario() -> None:
        heard: list[Input] = []
        mme = Gtpv2Link(MME, {SGW: (Role.SGW, Interface.S11)}, heard.append, echo_every=60.0)
        await mme.start()
        mme._echo()
        assert mme._endpoint.deadline() is None  # no echo waits for an answer
        assert heard == []
        await mme.stop()

    asyncio.run(scenario())
