"""Voice over places: a device behind SGi, a party on the internet, and tshark's reading of what they say."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from ferret_core.ua.packets import Datagram, PacketMaker, PacketReader
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.places import PlaceConfig, Places
from ferret_deploy.lab.sgi import SgiNetwork
from ferret_deploy.lab.voice_driver import DeviceVoice, RemoteVoice, VoiceEnd
from ferret_deploy.lab.voice_figures import figures

DEVICE, PARTY = ("10.45.0.2", 49120), ("198.51.100.7", 30000)


def _times(count: int, done: asyncio.Event) -> Callable[[object], None]:
    left = count

    def called(_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    return called


def test_a_late_event_loop_makes_up_for_what_it_missed() -> None:
    async def main() -> list[float]:
        now, sent = [100.0], []
        done = asyncio.Event()
        end = VoiceEnd("ue", Random(1), send=lambda _: sent.append(now[0]), clock=lambda: now[0])
        end.talk()
        now[0] += 0.1
        asyncio.get_running_loop().call_later(0.03, done.set)
        await done.wait()
        assert end.is_talking
        end.stop()
        end.stop()
        assert not end.is_talking
        return sent

    assert asyncio.run(main()) == [100.0] + [100.1] * 5


def test_a_device_takes_its_own_media_and_nothing_else() -> None:
    async def main() -> None:
        sent: list[Datagram] = []
        device = DeviceVoice("ue", Random(1), local=DEVICE, remote=PARTY, send=sent.append)
        other = DeviceVoice("party", Random(2), local=PARTY, remote=DEVICE, send=sent.append)
        other.end.talk()
        device.end.talk()
        device.end.stop()
        other.end.stop()
        heard = [device.take(one, 0.0, path="edge") for one in sent]
        assert heard == [True, False, False, True]
        assert [one.path for one in device.end.sink.heard] == ["edge"]
        assert device.take(Datagram(PARTY, (DEVICE[0], DEVICE[1] + 1), b"no RTCP"), 0.0)
        assert device.end.sink.foreign == 1
        report = sent[2]
        assert (report.source[1], report.destination[1]) == (DEVICE[1] + 1, PARTY[1] + 1)

    asyncio.run(main())


@pytest.mark.root
@pytest.mark.parametrize(("ue", "host"), [(DEVICE, PARTY[0]), (("2001:db8:45::2", 49120), "2001:db8:100::7")])
def test_voice_crosses_the_wan_both_ways_and_the_path_is_told(ue: tuple[str, int], host: str) -> None:
    configs = (
        PlaceConfig("core", ("10.10.0.0/24",), ("10.45.0.0/16", "2001:db8:45::/48")),
        PlaceConfig("internet", ("198.51.100.0/24", "2001:db8:100::/64")),
    )
    there, back = Impairment(0.012), Impairment(0.018)

    async def main(places: Places) -> None:
        sgi = SgiNetwork(places["core"])
        await sgi.start()
        with places["internet"].inside():
            party = RemoteVoice.open("party", Random(2), host)
        maker, reader = PacketMaker(), PacketReader()
        device = DeviceVoice(
            "ue",
            Random(1),
            local=ue,
            remote=party.local,
            send=lambda one: [sgi.carry(packet) for packet in maker.packets(one)],
            path=lambda: "core",
        )
        party.remote = ue
        arrived = asyncio.Event()
        enough = _times(10, arrived)

        def received(packet: bytes) -> None:
            one = reader.receive(packet, time.monotonic())
            assert one is not None
            assert device.take(one, time.monotonic())
            enough(packet)

        sgi.received = received
        device.end.talk()
        party.end.talk()
        async with asyncio.timeout(10):
            await arrived.wait()
        device.end.stop()
        party.stop()
        party.stop()
        sgi.stop()
        up, down = figures(device.end.source, party.end.sink), figures(party.end.source, device.end.sink)
        assert up.delays is not None
        assert down.delays is not None
        assert up.by_path.keys() == {"core"}
        assert up.delays.p50 >= there.delay
        assert down.delays.p50 >= back.delay
        assert up.duplicates == down.duplicates == up.reordered == down.reordered == 0
        assert (party.refused, sgi.lost) == (0, 0)

    with Places.build(configs, {("core", "internet"): there, ("internet", "core"): back}) as places:
        asyncio.run(main(places))
        assert places.wan is not None
        figures_of_wan = places.wan.statistics()
        assert (figures_of_wan.unroutable, figures_of_wan.undelivered) == (0, 0)


@pytest.mark.tshark
def test_tshark_reads_the_voice_and_its_reports(tmp_path: Path) -> None:
    packets: list[bytes] = []

    async def main() -> None:
        now = [100.0]
        maker = PacketMaker()
        device = DeviceVoice(
            "ue@lab",
            Random(1),
            local=DEVICE,
            remote=PARTY,
            send=lambda one: packets.extend(maker.packets(one)),
            clock=lambda: now[0],
        )
        device.end.talk()
        for _ in range(3):
            now[0] += 0.02
            device.end._speak()
        device.end.stop()

    asyncio.run(main())
    rows = _tshark(tmp_path, packets, "rtp.p_type", "rtp.seq", "rtp.marker", "rtp.payload", "ip.checksum.status")
    first = int(rows[0][1])
    assert [(row[0], int(row[1]) - first, row[2]) for row in rows[:4]] == [
        ("104", number, "1" if number == 0 else "0") for number in range(4)
    ]
    assert all(row[3].startswith("f140") and row[4] == "1" for row in rows[:4])
    (report,) = _tshark(tmp_path, packets[4:], "rtcp.pt", "rtcp.sender.packetcount", "rtcp.sdes.text")
    assert report == ["200,202,203", "4", "ue@lab"]
    assert all(row == [""] for row in _tshark(tmp_path, packets, "_ws.malformed"))


def _tshark(directory: Path, packets: list[bytes], *fields: str) -> list[list[str]]:
    path = directory / "voice.pcap"
    records = [struct.pack("=IIII", number, 0, len(one), len(one)) + one for number, one in enumerate(packets)]
    path.write_bytes(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + b"".join(records))
    known = [
        "-d",
        f"udp.port=={DEVICE[1]},rtp",
        "-d",
        f"udp.port=={DEVICE[1] + 1},rtcp",
        "-o",
        "ip.check_checksum:TRUE",
    ]
    wanted = [part for field in fields for part in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", str(path), *known, "-T", "fields", *wanted], capture_output=True, text=True, check=True
    )
    return [line.split("\t") for line in done.stdout.splitlines()]
