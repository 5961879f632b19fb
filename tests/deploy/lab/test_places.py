"""Places that are apart, on real namespaces and real sockets, as root and as an ordinary user."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferret.errors import ConfigError
from ferret_deploy.lab.delay_line import Impairment
from ferret_deploy.lab.namespace import Namespace
from ferret_deploy.lab.netlink import PlaceError
from ferret_deploy.lab.places import SGI_INTERFACE, PlaceConfig, Places

pytestmark = pytest.mark.root

WAY = Impairment(delay=0.02)
CONFIGS = (
    PlaceConfig("core", ("10.10.0.0/24", "fd00:10::/64"), ("10.45.0.0/16",)),
    PlaceConfig("site", ("10.30.0.0/24", "fd00:30::/64")),
    PlaceConfig("edge", ("10.20.0.0/24",)),
)


@pytest.fixture
def places() -> Iterator[Places]:
    with Places.build(CONFIGS, {("site", "core"): WAY, ("core", "site"): WAY}, seed=1) as built:
        yield built


def _udp(places: Places, place: str, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with places[place].inside():
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(5)
        sock.bind((address, port))
    return sock


@pytest.mark.parametrize(("core", "site"), [("10.10.0.3", "10.30.0.30"), ("fd00:10::3", "fd00:30::30")])
def test_a_datagram_crosses_the_wan_with_its_delay(places: Places, core: str, site: str) -> None:
    with _udp(places, "core", core, 2152) as there, _udp(places, "site", site, 2152) as here:
        sent_at = time.monotonic()
        here.sendto(b"GTP-U", (core, 2152))
        octets, source = there.recvfrom(100)
        taken = time.monotonic() - sent_at
    assert (octets, source[:2]) == (b"GTP-U", (site, 2152))
    assert taken >= WAY.delay


def test_places_that_have_no_delay_between_them_are_near(places: Places) -> None:
    with _udp(places, "edge", "10.20.0.3", 2152) as there, _udp(places, "site", "10.30.0.30", 2152) as here:
        times = []
        for _ in range(20):
            sent_at = time.monotonic()
            here.sendto(b"GTP-U", ("10.20.0.3", 2152))
            there.recvfrom(100)
            times.append(time.monotonic() - sent_at)
    assert min(times) < 0.01


def test_a_datagram_longer_than_a_frame_arrives_whole(places: Places) -> None:
    sdp = bytes(range(256)) * 20
    with _udp(places, "core", "10.10.0.21", 5060) as there, _udp(places, "site", "10.30.0.30", 5060) as here:
        here.sendto(sdp, ("10.10.0.21", 5060))
        assert there.recvfrom(65535)[0] == sdp


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_one_event_loop_has_sockets_in_several_places(places: Places, loop: str) -> None:
    run = pytest.importorskip(loop).run

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(100_000))
        writer.close()

    async def serve() -> asyncio.Server:
        await asyncio.sleep(0)
        return await asyncio.start_server(echo, "10.10.0.9", 3868)

    async def call() -> int:
        async def connect() -> int:
            reader, writer = await asyncio.open_connection("10.10.0.9", 3868, local_addr=("10.30.0.4", 0))
            writer.write(bytes(100_000))
            octets = await reader.read()
            writer.close()
            return len(octets)

        await asyncio.sleep(0)
        return await asyncio.create_task(connect())  # a task of a coroutine in a place is there too

    async def main() -> int:
        server = await places["core"].run(serve())
        try:
            return await places["site"].run(call())
        finally:
            server.close()
            await server.wait_closed()

    assert run(main()) == 100_000


def test_what_is_awaited_in_a_place_leaves_others_where_they_are(places: Places) -> None:
    seen: list[int] = []

    def namespace() -> int:
        return Path("/proc/thread-self/ns/net").stat().st_ino

    async def here() -> None:
        for _ in range(3):
            seen.append(namespace())
            await asyncio.sleep(0)

    async def main() -> list[int]:
        others: list[int] = []
        task = asyncio.create_task(places["core"].run(here()))
        while not task.done():
            others.append(namespace())
            await asyncio.sleep(0)
        with pytest.raises(ZeroDivisionError):
            await places["core"].run(_fails())
        return [*others, namespace()]

    home = namespace()
    assert set(asyncio.run(main())) == {home}
    assert len(set(seen)) == 1
    assert seen[0] != home


async def _fails() -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError


def test_a_task_that_is_cancelled_in_a_place_ends(places: Places) -> None:
    async def main() -> bool:
        task = asyncio.create_task(places["core"].run(asyncio.sleep(60)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(main())


def test_packets_for_subscribers_come_out_behind_the_pgw(places: Places) -> None:
    with places["core"].inside():
        sgi = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        sgi.bind((SGI_INTERFACE, 0x0800))
        sgi.settimeout(5)
    with sgi, _udp(places, "edge", "10.20.0.1", 4000) as here:
        here.sendto(b"RTP", ("10.45.0.7", 4000))
        packet = sgi.recv(2000)
    assert packet[16:20] == bytes((10, 45, 0, 7))
    assert packet.endswith(b"RTP")
    assert packet[26:28] != b"\0\0"  # the checksum is there


def test_conditions_and_routes_change_at_once(places: Places) -> None:
    wan = places.wan
    assert wan is not None
    with _udp(places, "core", "10.10.0.3", 2152) as there, _udp(places, "site", "10.30.0.30", 2152) as here:
        wan.impair("site", "core", Impairment(loss=1.0))
        here.sendto(b"lost", ("10.10.0.3", 2152))
        wan.route("10.99.0.0/16", places["edge"].wan_port)
        wan.impair("site", "core", Impairment())
        here.sendto(b"kept", ("10.10.0.3", 2152))
        assert there.recvfrom(100)[0] == b"kept"
    figures = wan.statistics()
    assert figures.lines["site>core"] == {"carried": 1, "lost": 1, "dropped": 0, "waiting": 0}
    assert figures.unroutable == figures.overrun == figures.undelivered == 0
    with pytest.raises(ConfigError):
        wan.impair("site", "moon", Impairment())


def test_nothing_is_said_in_a_place_that_nobody_sent(places: Places) -> None:
    wan = places.wan
    assert wan is not None
    with _udp(places, "core", "10.10.0.3", 2152) as there, _udp(places, "site", "10.30.0.30", 2152) as here:
        here.sendto(b"GTP-U", ("10.10.0.3", 2152))
        there.recvfrom(100)
    figures = wan.statistics()
    assert (dict(figures.lines), figures.unroutable) == (
        {"site>core": {"carried": 1, "lost": 0, "dropped": 0, "waiting": 0}},
        0,
    )


def test_nothing_is_left_over() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    for _ in range(2):
        with Places.build(CONFIGS, {}) as places:
            relay = places.wan
        places.close()
    assert relay is not None
    assert relay._process.poll() == 0
    assert open_files() == before


def test_a_fault_while_building_leaves_nothing_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ConfigError):
        Places.build(CONFIGS, {("site", "moon"): WAY})
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_namespace_has_a_path_for_other_programs() -> None:
    namespace = Namespace.create()
    with namespace.inside():
        inside = Path("/proc/thread-self/ns/net").stat().st_ino
    assert Path(namespace.path).stat().st_ino == inside
    namespace.close()
    namespace.close()


def test_who_has_no_rights_gets_places_in_a_user_namespace() -> None:
    python = next((one for one in (sys.executable, shutil.which("python3", path=os.defpath)) if _is_for_all(one)), None)
    if python is None or not shutil.which("setpriv"):
        pytest.skip("SKIPPED LOUDLY: no setpriv (util-linux), or no Python that an ordinary user may run")
    script = (
        "from ferret_deploy.lab.namespace import become_root_of_own_network\n"
        "from ferret_deploy.lab.places import PlaceConfig, Places\n"
        "print(become_root_of_own_network() or 'granted')\n"
        "with Places.open([PlaceConfig('core', ('10.10.0.0/24',))], {}) as places: print(places.why_not or 'apart')\n"
        "import socket; socket.create_server(('127.0.0.1', 0)).close()\n"
    )
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, "-c", script]
    known = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if Path(path).is_dir())}
    done = subprocess.run(nobody, capture_output=True, text=True, timeout=60, cwd="/", env=known)
    if "no user namespaces" in done.stdout:
        pytest.skip(f"SKIPPED LOUDLY: {done.stdout.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["granted", "apart"]


def _is_for_all(program: str | None) -> bool:
    """Whether every user may run it."""
    if program is None:
        return False
    path = Path(program).resolve()
    return all(one.stat().st_mode & 0o001 for one in (path, *path.parents))


def test_a_relay_that_has_died_is_said_and_can_be_stopped() -> None:
    with Places.build(CONFIGS, {}) as places:
        places.wan._process.kill()
        places.wan._process.wait()
        with pytest.raises(PlaceError, match="relay"):
            places.wan.statistics()


@pytest.mark.skipif(not shutil.which("setpriv"), reason="SKIPPED LOUDLY: setpriv is not installed (util-linux)")
def test_root_without_capabilities_stays_on_the_machines_network() -> None:
    script = (
        "import os\n"
        "from ferret_deploy.lab.places import PlaceConfig, Places\n"
        "network = os.readlink('/proc/self/ns/net')\n"
        "with Places.open([PlaceConfig('core', ('10.10.0.0/24',))], {}) as places:\n"
        "    print(places.why_not, places['core'].address(3), os.readlink('/proc/self/ns/net') == network)\n"
    )
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", script]
    done = subprocess.run(bare, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "this machine allows no user namespaces (Operation not permitted) 127.10.0.3 True\n"
