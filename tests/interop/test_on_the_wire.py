"""What our SCTP and the emulated base station put on the wire, as tshark reads it."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ferret.errors import ConfigError
from ferret.protocols import gtpu, s1ap
from ferret.protocols.nas import Direction, MessageType, NasSecurityContext, SecurityHeader, build_esm
from ferret.protocols.s1ap import Erab, ErabQos, ServedGummeis, Tunnel
from ferret.transport.sctp import SctpAssociation, SctpMessage, SctpTransport, choose
from ferret.transport.udp import UdpTransport
from ferret_core.enb import Enb, ImportedBearer, ImportedUe
from ferret_core.enb.driver import EnbDriver
from ferret_edge.probe import udp_packet

pytestmark = [pytest.mark.sctp, pytest.mark.tshark, pytest.mark.root]
MME, SGW, ENB = "127.0.9.62", "127.0.9.63", "127.0.9.64"
IMSI = "001010000000001"


@pytest.fixture
def sctp() -> SctpTransport:
    try:
        return choose().transport
    except ConfigError as error:
        pytest.skip(f"NOT tested what is on the wire: {error}")


@contextmanager
def captured(file: Path, address: str) -> Iterator[None]:
    """Capture what goes from and to `address` on the loopback interface; every packet is in the file afterwards."""
    if not shutil.which("tcpdump"):
        pytest.skip("NOT tested what is on the wire: tcpdump is missing (Debian package tcpdump)")
    command = ["tcpdump", "-i", "lo", "-U", "--immediate-mode", "-w", str(file), f"host {address}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as dump:
        try:
            seen(dump, file, address, b"capture begins")
            yield
            seen(dump, file, address, b"capture ends")
        finally:
            dump.terminate()


def seen(dump: subprocess.Popen[bytes], file: Path, address: str, marker: bytes) -> None:
    """Send a marker until the capture has it: tcpdump says that it listens a little before it does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(200):
            sender.sendto(marker, (address, 9))
            try:
                dump.wait(0.05)
            except subprocess.TimeoutExpired:
                if file.exists() and marker in file.read_bytes():
                    return
            else:
                break
    pytest.skip("NOT tested what is on the wire: tcpdump may not capture on lo")


def tshark(file: Path, *fields: str, show: str, options: tuple[str, ...] = ()) -> list[list[str]]:
    arguments = [x for field in fields for x in ("-e", field)]
    command = ["tshark", "-r", str(file), "-d", "udp.port==9899,sctp", "-Y", show, "-T", "fields", *options]
    done = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(file.parent)},
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for is not an event
            await asyncio.sleep(0.001)


def test_an_association_is_clean(sctp: SctpTransport, tmp_path: Path) -> None:
    async def scenario() -> None:
        got: list[SctpMessage] = []
        lost: list[str] = []

        def accept(association: SctpAssociation) -> None:
            association.received = lambda message: association.send(message.octets, stream=message.stream)
            association.lost = lost.append

        listener = await sctp.listen(MME, 36412, accept)
        client = await sctp.connect((MME, 36412), local=(ENB, 0), received=got.append)
        client.send(bytes(12), stream=0)
        client.send(bytes(5000), stream=1)
        await until(lambda: len(got) == 2)
        client.close()
        await until(lambda: lost)
        listener.close()

    file = tmp_path / "sctp.pcap"
    with captured(file, MME):
        asyncio.run(scenario())
    fields = ("sctp.checksum.status", "sctp.chunk_type", "sctp.data_payload_proto_id")
    rows = tshark(file, *fields, show="sctp && !icmp", options=("-o", "sctp.checksum:CRC 32c"))
    assert {row[0] for row in rows} == {"1"}  # every CRC32c is right
    assert [row[1] for row in rows][:4] == ["1", "2", "10", "11"]  # INIT, INIT ACK, COOKIE ECHO, COOKIE ACK
    assert {x for row in rows for x in row[2].split(",") if x} == {"18"}
    assert "14" in rows[-1][1]  # SHUTDOWN COMPLETE


def test_the_move_of_a_device_is_read_without_complaint(sctp: SctpTransport, tmp_path: Path) -> None:
    security = NasSecurityContext(bytes(range(32)), 2, 0, 1, 7, 30)
    plain = build_esm(MessageType.MODIFY_EPS_BEARER_CONTEXT_REQUEST, ebi=5, pti=0).octets
    header = SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED
    nas_pdu = security.protect(plain, header, Direction.DOWNLINK)
    erab = Erab(5, ErabQos(9, 8), nas_pdu=nas_pdu, transport_information=Tunnel(SGW, 0x33))
    gummeis = [ServedGummeis(("00101",), (1,), (1,))]
    answers = {
        "S1SetupRequest": s1ap.s1_setup_response(name="mme", gummeis=gummeis, relative_capacity=255),
    }
    received: list[s1ap.Message] = []
    associations: list[SctpAssociation] = []

    def accept(association: SctpAssociation) -> None:
        def take(message: SctpMessage) -> None:
            received.append(s1ap.decode(message.octets))
            if answer := answers.get(received[-1].name):
                association.send(answer.encode())

        association.received = take
        associations.append(association)

    async def scenario() -> None:
        listener = await sctp.listen(MME, 36412, accept)
        sgw = await UdpTransport.bind(SGW, 2152, lambda octets, source: None)
        enb = Enb(address=ENB, random=Random(1), mme=MME)
        bearer = ImportedBearer(5, Tunnel(ENB, 0x11), Tunnel("127.0.9.99", 0x22), address="10.45.0.2")
        context = NasSecurityContext(bytes(range(32)), 2, 0, 1, 7, 30)
        enb.take_over(ImportedUe(IMSI, 1, 10, context, (bearer,)))
        driver = EnbDriver(enb, mme=(MME, 36412), sctp=sctp)
        await driver.start()
        request = s1ap.erab_modify_request(mme_ue_s1ap_id=10, enb_ue_s1ap_id=1, erabs=[erab])
        associations[0].send(request.encode(), stream=1)
        await until(lambda: len(received) == 3)
        driver.send_uplink(enb.ue(IMSI), 5, udp_packet("10.45.0.2", "192.0.2.1", 9, 9, b"up"))
        sgw.send(gtpu.wrap(0x11, udp_packet("192.0.2.1", "10.45.0.2", 9, 9, b"down")), (ENB, 2152))
        await driver.until(lambda: bool(driver.arrivals))
        driver.stop()
        listener.close()
        sgw.close()

    file = tmp_path / "move.pcap"
    with captured(file, ENB):
        asyncio.run(scenario())
    fields = ("s1ap.procedureCode", "s1ap.transportLayerAddressIPv4", "gtp.teid", "_ws.malformed")
    rows = tshark(file, *fields, show="s1ap || gtp")
    assert [code for row in rows for code in row[0].split(",") if code] == ["17", "17", "6", "6", "13"]
    assert SGW in {address for row in rows for address in row[1].split(",")}
    assert {"0x00000033", "0x00000011"} <= {row[2] for row in rows}
    assert [row for row in rows if row[3]] == []
