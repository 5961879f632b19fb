"""Places in name only: the delay is there all the same, on loopback addresses and without any right."""

from __future__ import annotations

import asyncio
import time
from random import Random

import pytest

from ferret.errors import ConfigError
from ferret.transport.sctp import SctpAssociation, SctpMessage, choose
from ferret.transport.udp import UdpTransport
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.loopback import DistantRemoteParty, DistantSctp, LoopbackWan, on_loopback
from ferret_deploy.lab.places import PlaceConfig, Places
from ferret_deploy.lab.voice_driver import RemoteVoice, VoiceEnd
from ferret_deploy.lab.voice_figures import figures

DELAY = 0.01
CONFIGS = (
    PlaceConfig("core", ("10.110.0.0/24", "fd00:10::/64"), ("10.145.0.0/16",)),
    PlaceConfig("site", ("10.130.0.0/24",)),
    PlaceConfig("internet", ("198.151.100.0/24",)),
)
LINKS = {(a, b): Impairment(DELAY) for a in ("core", "site", "internet") for b in ("core", "site", "internet")}


def _places() -> tuple[Places, LoopbackWan]:
    places = Places.on_loopback(CONFIGS, LINKS)
    assert isinstance(places.wan, LoopbackWan)
    return places, places.wan


def test_addresses_stand_in_for_those_of_the_places() -> None:
    assert on_loopback("10.10.0.0/24") == "127.10.0.0/24"
    places, _ = _places()
    assert [place.address(3) for place in places] == ["127.110.0.3", "127.130.0.3", "127.151.100.3"]
    assert places["core"].config.subscribers == ("127.145.0.0/16",)
    assert places.why_not == "asked for"
    with places["core"].inside():
        assert asyncio.run(places["core"].run(asyncio.sleep(0, "here"))) == "here"


def test_what_is_carried_arrives_in_order_after_the_delay() -> None:
    async def main() -> None:
        places, wan = _places()
        arrived: list[tuple[int, float]] = []
        done = asyncio.Event()
        started = time.monotonic()
        for number in range(5):
            wan.carry("127.130.0.1", "127.110.0.3", lambda n=number: arrived.append((n, time.monotonic())))  # type: ignore[misc]
        wan.carry("127.130.0.1", "127.145.0.1", done.set)
        wan.carry("127.130.0.1", "192.0.2.1", done.clear)
        wan.carry("192.0.2.1", "127.130.0.1", done.clear)
        await done.wait()
        assert [number for number, _ in arrived] == list(range(5))
        assert arrived[0][1] - started >= DELAY
        told = wan.statistics()
        assert told.lines == {"site>core": {"carried": 6, "lost": 0, "dropped": 0, "waiting": 0}}
        assert (told.unroutable, told.late_frames) == (2, 6)
        places.close()

    asyncio.run(main())


def test_loss_is_for_what_nobody_repeats() -> None:
    async def main() -> None:
        places, wan = _places()
        wan.impair("site", "core", Impairment(loss=1.0))
        arrived: list[str] = []
        wan.carry("127.130.0.1", "127.110.0.3", lambda: arrived.append("datagram"))
        wan.carry("127.130.0.1", "127.110.0.3", lambda: arrived.append("SCTP"), surely=True)
        assert arrived == ["SCTP"]
        places.close()

    asyncio.run(main())


def test_what_is_on_its_way_at_the_end_arrives_at_once() -> None:
    async def main() -> list[int]:
        _, wan = _places()
        arrived: list[int] = []
        wan.carry("127.130.0.1", "127.110.0.3", lambda: arrived.append(1))
        wan.stop()
        wan.stop()
        wan.carry("127.130.0.1", "127.110.0.3", lambda: arrived.append(2))
        return arrived

    assert asyncio.run(main()) == [1, 2]


def test_a_route_moves_a_subscriber_nearer() -> None:
    async def main() -> dict[str, int]:
        places, wan = _places()
        wan.route("127.145.0.9/32", places["site"].wan_port)
        wan.carry("127.110.0.1", "127.145.0.9", lambda: None)
        wan.route("127.145.0.9/32", None)
        wan.carry("127.110.0.1", "127.145.0.9", lambda: None)
        counted = {way: counters["waiting"] for way, counters in wan.statistics().lines.items()}
        places.close()
        return counted

    assert asyncio.run(main()) == {"core>site": 1, "core>core": 1}


def test_unknown_places_are_refused() -> None:
    with pytest.raises(ConfigError):
        Places.on_loopback(CONFIGS, {("core", "moon"): Impairment()})


def test_voice_between_core_and_internet_takes_the_delay_both_ways() -> None:
    async def main() -> None:
        places, wan = _places()
        party = RemoteVoice.open("party", Random(1), places["internet"].address(7), wan=wan)
        heard = asyncio.Event()
        near = VoiceEnd("near", Random(2), send=lambda octets: transport.send(octets, party.local))

        def received(octets: bytes, source: tuple[str, int]) -> None:
            near.receive(octets, time.monotonic())
            if len(near.sink.heard) >= 3 and len(party.end.sink.heard) >= 3:
                heard.set()

        transport = await UdpTransport.bind(places["core"].address(5), 0, received)
        party.remote = transport.address
        near.talk()
        party.end.talk()
        async with asyncio.timeout(10):
            await heard.wait()
        for one, other in ((near, party.end), (party.end, near)):
            found = figures(one.source, other.sink).delays
            assert found is not None
            assert found.p50 >= DELAY
        near.stop()
        party.stop()
        transport.close()
        places.close()

    asyncio.run(main())


def test_a_remote_party_is_as_far_away_as_the_wan_says() -> None:
    async def main() -> float:
        places, wan = _places()
        core = places["core"].address(19)
        answered: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        transport = await UdpTransport.bind(core, 0, lambda octets, source: answered.set_result(time.monotonic()))
        address = places["internet"].address(90)
        party = DistantRemoteParty("sip:party@remote.example", f"{address}:5070", f"{core}:5060", Random(1))
        party.wan = wan
        await party.start()
        options = (
            f"OPTIONS sip:party@remote.example SIP/2.0\r\nVia: SIP/2.0/UDP {core}:{transport.address[1]}"
            ";branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:party@remote.example>\r\n"
            "Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
        sent_at = time.monotonic()
        transport.send(options.encode(), (address, 5070))
        async with asyncio.timeout(5):
            taken = await answered - sent_at
        party.stop()
        transport.close()
        places.close()
        return taken

    assert asyncio.run(main()) >= 2 * DELAY


@pytest.mark.sctp
def test_sctp_messages_take_the_delay_and_keep_their_order() -> None:
    async def main() -> None:
        places, wan = _places()
        transport = DistantSctp(choose("usrsctp-udp").transport, wan)
        accepted: list[SctpAssociation] = []
        answers: list[bytes] = []
        done, lost = asyncio.Event(), asyncio.Event()

        def accept(association: SctpAssociation) -> None:
            accepted.append(association)
            association.received = lambda message: association.send(message.octets)
            association.lost = lambda reason: lost.set()

        def received(message: SctpMessage) -> None:
            answers.append(message.octets)
            if len(answers) == 3:
                done.set()

        listener = await transport.listen(places["core"].address(2), 36412, accept)
        peer, local = (places["core"].address(2), 36412), (places["site"].address(30), 0)
        association = await transport.connect(peer, local=local, received=received)
        sent_at = time.monotonic()
        for octets in (b"one", b"two", b"three"):
            assert association.send(octets)
        async with asyncio.timeout(5):
            await done.wait()
        assert time.monotonic() - sent_at >= 2 * DELAY
        assert answers == [b"one", b"two", b"three"]
        association.close()
        assert not association.send(b"late")
        async with asyncio.timeout(5):
            await lost.wait()
        listener.close()
        places.close()

    asyncio.run(main())


def test_a_machine_that_allows_nothing_still_has_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferret_deploy.lab.places.become_root_of_own_network", lambda: "not permitted")
    with Places.open(CONFIGS, LINKS) as places:
        assert places.why_not == "not permitted"
        assert isinstance(places.wan, LoopbackWan)
