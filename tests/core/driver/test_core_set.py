"""Putting the core together: addresses, what each NF is told, which NFs are where, and what its links let in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from ferret.errors import ConfigError, PeerViolationError
from ferret.protocols import sip
from ferret.records.message import Interface, Role
from ferret.transport.endpoint import Address, TransportError
from ferret.transport.udp import UdpTransport
from ferret_core.driver.configuration import LabNetwork
from ferret_core.driver.core_set import CoreSet
from ferret_core.driver.links.sip_link import SipLink
from ferret_core.driver.node import CoreNode
from ferret_core.driver.places import CORE_ROLES, Places
from ferret_core.nf import Input, Note, Peer, PeerLost, Received, Send
from ferret_core.pcscf import Pcscf

NETWORK = "127.0.150.0/24"


def lab(network: str = NETWORK) -> LabNetwork:
    return LabNetwork(Places.loopback(network))


def test_every_nf_has_an_address_of_its_own_and_ues_have_networks_of_theirs() -> None:
    places = Places.loopback(NETWORK)
    assert len({places.address(role) for role in (*CORE_ROLES, Role.ENB, Role.REMOTE)}) == 10
    assert places.pools == {"internet": "127.0.151.0/24", "ims": "127.0.152.0/24"}
    with pytest.raises(ConfigError, match="no address is given for the AF"):
        places.address(Role.AF)


@pytest.mark.parametrize("network", ["10.0.0.0/24", "127.0.0.0/16", "nonsense"])
def test_a_network_that_is_no_loopback_24_is_refused(network: str) -> None:
    with pytest.raises(ConfigError, match="core network"):
        Places.loopback(network)


def test_all_faults_of_addresses_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"address of the MME: .*; network of ims: "):
        Places({Role.MME: "x"}, {"ims": "y"})


def test_the_nfs_agree_on_who_is_who() -> None:
    network = lab()
    mme, hss = network.context_of(Role.MME), network.context_of(Role.HSS)
    assert mme["destination_host"] == hss["identity"]["host"] == "hss.epc.mnc001.mcc001.3gppnetwork.org"
    assert hss["scscf"] == network.context_of(Role.SCSCF)["profile"]["cx"]["server_name"]
    names = network.context_of(Role.ICSCF)["names"]
    assert names["scscf.ims.mnc001.mcc001.3gppnetwork.org"] == "127.0.150.20:5060"
    assert names["remote.example"] == "127.0.150.90:5060"


def test_a_part_of_the_core_may_be_elsewhere() -> None:
    core = CoreSet(lab(), [Role.PCSCF, Role.PCRF], random=lambda role: Random(1))
    assert list(core.nfs) == [Role.PCRF, Role.PCSCF]

    async def scenario() -> None:
        async with core:
            assert core.leftovers() == {}
            assert set(core.nfs[Role.PCSCF].node.links) == {Interface.RX, Interface.MW, Interface.GM}

    asyncio.run(scenario())


def test_a_role_that_is_no_nf_of_the_core_is_refused() -> None:
    with pytest.raises(ConfigError, match="eNB"):
        CoreSet(lab(), [Role.ENB])


def test_a_core_that_cannot_start_leaves_nothing_open() -> None:
    async def scenario() -> None:
        holder = await UdpTransport.bind("127.0.150.21", 5060, lambda octets, source: None)
        core = CoreSet(lab(), [Role.PCRF, Role.PCSCF])
        with pytest.raises(TransportError, match="5060"):
            await core.start()
        holder.close()
        async with CoreSet(lab(), [Role.PCRF, Role.PCSCF]):
            pass  # every port is free again

    asyncio.run(scenario())


class Recorder:
    """What a link brings."""

    def __init__(self) -> None:
        self.events: list[Input] = []
        self._changed = asyncio.Event()

    def __call__(self, event: Input) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


def _options(source: Address) -> bytes:
    fields = [
        ("Via", f"SIP/2.0/UDP {source[0]}:{source[1]};branch=z9hG4bK{source[0]}"),
        ("From", "<sip:a@b>;tag=1"),
        ("To", "<sip:c@d>"),
        ("Call-ID", source[0]),
        ("CSeq", "1 OPTIONS"),
        ("Max-Forwards", "70"),
    ]
    return sip.request("OPTIONS", "sip:c@d", fields).encode()


def test_to_a_p_cscf_whoever_is_no_cscf_is_a_ue_and_to_others_a_stranger() -> None:
    async def scenario() -> None:
        known, unknown = ("127.0.153.20", 5060), ("127.0.153.99", 5060)
        heard, strict = Recorder(), Recorder()
        gm = SipLink("127.0.153.21", {known[0]: Role.SCSCF}, heard, others=(Role.UE, Interface.GM))
        mw = SipLink("127.0.153.19", {known[0]: Role.SCSCF}, strict)
        await gm.start()
        await mw.start()
        for source in (unknown, known):
            sender = await UdpTransport.bind(*source, lambda octets, source: None)
            sender.send(b"no SIP\r\n\r\n", ("127.0.153.21", 5060))
            sender.send(_options(source), ("127.0.153.21", 5060))
            sender.send(_options(source), ("127.0.153.19", 5060))
            await heard.until(lambda source=source: any(source[0] in e.peer.address for e in heard.events))  # type: ignore[misc]
            sender.close()
        await strict.until(lambda: bool(strict.events))
        assert [(e.interface, e.peer.role) for e in heard.events] == [
            (Interface.GM, Role.UE),
            (Interface.MW, Role.SCSCF),
        ]
        assert [(e.interface, e.peer.role) for e in strict.events] == [(Interface.MW, Role.SCSCF)]
        await gm.stop()
        await mw.stop()

    asyncio.run(scenario())


class Awkward(Pcscf):
    """Refuses what it receives, and wants to send where there is no link."""

    def receive(self, event: Input, now: float) -> list[Note | Send]:
        if isinstance(event, PeerLost):
            return [Send(Interface.CX, event.peer, sip.decode(_options(("h", 1)))), Note("told", {})]
        raise PeerViolationError("never")


def test_a_bad_message_costs_the_message_and_a_missing_link_is_counted() -> None:
    async def scenario() -> None:
        node = CoreNode(Awkward(address="127.0.150.21", random=Random(1)))
        notes: list[Note] = []
        node.noted = notes.append
        message = sip.decode(_options(("h", 1)))
        node.arrived(Received(Interface.GM, Peer(Role.UE, "h"), message))
        node.arrived(PeerLost(Interface.CX, Peer(Role.HSS), "gone"))
        assert dict(node.counts) == {"received": 2, "refused": 1, "unsent": 1}
        assert notes == [Note("told", {})] == list(node.notes)

    asyncio.run(scenario())
