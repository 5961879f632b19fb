"""The emulated base station on real SCTP and UDP sockets, against a minimal MME and S-GW."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from ferret.errors import ConfigError, ProtocolError
from ferret.protocols import gtpu, nas, s1ap
from ferret.protocols.nas import Direction, MessageType, NasSecurityContext, SecurityHeader, build_esm
from ferret.protocols.s1ap import Erab, ErabQos, ServedGummeis, Tunnel
from ferret.transport.endpoint import Address, TransportError
from ferret.transport.sctp import Choice, SctpAssociation, SctpListener, SctpMessage, choose
from ferret.transport.udp import UdpTransport
from ferret_core.enb import Enb, ImportedBearer, ImportedUe, S1State
from ferret_core.enb.driver import EnbDriver
from ferret_edge.probe import udp_packet

pytestmark = pytest.mark.sctp
IMSI = "001010000000001"
MME, SGW, ENB = "127.0.9.42", "127.0.9.43", "127.0.9.44"
UPLINK = udp_packet("10.45.0.2", "192.0.2.1", 9, 9, b"uplink")
DOWNLINK = udp_packet("192.0.2.1", "10.45.0.2", 9, 9, b"downlink")
IDS = {"mme_ue_s1ap_id": 10, "enb_ue_s1ap_id": 1}


@pytest.fixture
def choice() -> Choice:
    try:
        return choose()
    except ConfigError as error:
        pytest.skip(f"the emulated eNB is NOT tested on sockets: {error}")


class MinimalMme:
    """Answers S1 SETUP; the rest is asked of it by the test."""

    def __init__(self, *, accepts: bool | None = True) -> None:
        self.received: list[s1ap.Message] = []
        self.streams: list[int] = []
        self.association: SctpAssociation | None = None
        self.listener: SctpListener | None = None
        self._accepts = accepts

    async def listen(self, choice: Choice) -> None:
        self.listener = await choice.transport.listen(MME, 36412, self._accepted)

    def send(self, message: s1ap.Message, stream: int = 1) -> None:
        assert self.association is not None
        self.association.send(message.encode(), stream=stream)

    def stop(self) -> None:
        if self.association is not None:
            self.association.abort()
        if self.listener is not None:
            self.listener.close()

    def _accepted(self, association: SctpAssociation) -> None:
        self.association = association
        association.received = self._message

    def _message(self, message: SctpMessage) -> None:
        assert message.ppid == 18
        decoded = s1ap.decode(message.octets)
        self.received.append(decoded)
        self.streams.append(message.stream)
        if decoded.name == "S1SetupRequest" and self._accepts is not None:
            gummeis = [ServedGummeis(("00101",), (1,), (1,))]
            answer = s1ap.s1_setup_response(name="mme", gummeis=gummeis, relative_capacity=255)
            refusal = s1ap.s1_setup_failure(cause=s1ap.Cause("misc", "unknown-PLMN"))
            self.send(answer if self._accepts else refusal, 0)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - what is waited for is not an event
            await asyncio.sleep(0.001)


def security() -> NasSecurityContext:
    return NasSecurityContext(bytes(range(32)), 2, 2, 1, 7, 30)


def taken_over() -> ImportedUe:
    bearer = ImportedBearer(5, Tunnel(ENB, 0x11), Tunnel("127.0.9.99", 0x22), address="10.45.0.2")
    return ImportedUe(IMSI, 1, 10, security(), (bearer,))


def test_a_device_is_moved_and_its_packets_take_the_new_way(choice: Choice) -> None:
    async def scenario() -> None:
        mme, network = MinimalMme(), security()
        await mme.listen(choice)
        arrived: list[tuple[bytes, Address]] = []
        sgw = await UdpTransport.bind(SGW, 2152, lambda octets, source: arrived.append((octets, source)))
        enb = Enb(address=ENB, random=Random(1), mme=MME)
        enb.take_over(taken_over())
        driver = EnbDriver(enb, mme=(MME, 36412), sctp=choice.transport)
        await driver.start()
        plain = build_esm(MessageType.MODIFY_EPS_BEARER_CONTEXT_REQUEST, ebi=5, pti=0).octets
        header = SecurityHeader.INTEGRITY_PROTECTED_AND_CIPHERED
        erab = Erab(
            5,
            ErabQos(9, 8),
            nas_pdu=network.protect(plain, header, Direction.DOWNLINK),
            transport_information=Tunnel(SGW, 0x33),
        )
        mme.send(s1ap.erab_modify_request(**IDS, erabs=[erab]))
        await until(lambda: len(mme.received) == 3)
        assert [message.name for message in mme.received] == [
            "S1SetupRequest",
            "E-RABModifyResponse",
            "UplinkNASTransport",
        ]
        assert mme.streams == [0, 1, 1]
        plain_answer, verified = nas.verify(mme.received[2].nas_pdu or b"", network, Direction.UPLINK)
        assert verified
        assert plain_answer is not None
        assert plain_answer.name == "Modify EPS bearer context accept"
        driver.send_uplink(enb.ue(IMSI), 5, UPLINK)
        await until(lambda: arrived)
        assert arrived == [(gtpu.wrap(0x33, UPLINK), (ENB, 2152))]
        sgw.send(gtpu.wrap(0x11, DOWNLINK), (ENB, 2152))
        await driver.until(lambda: bool(driver.arrivals))
        assert driver.arrivals[0][:3] == (IMSI, 5, DOWNLINK)
        sgw.send(gtpu.echo_request(1), (ENB, 2152))
        await until(lambda: len(arrived) == 2)
        assert gtpu.decode(arrived[1][0]).type == gtpu.GtpuType.ECHO_RESPONSE
        driver.stop()
        mme.stop()
        sgw.close()

    asyncio.run(scenario())


def test_a_refused_setup_and_a_missing_mme_are_said(choice: Choice) -> None:
    async def scenario() -> None:
        mme = MinimalMme(accepts=False)
        await mme.listen(choice)
        driver = EnbDriver(Enb(address=ENB, random=Random(1)), mme=(MME, 36412), sctp=choice.transport)
        with pytest.raises(ProtocolError, match="refused S1 SETUP"):
            await driver.start()
        mme.stop()
        silent = MinimalMme(accepts=None)
        await silent.listen(choice)
        driver = EnbDriver(Enb(address=ENB, random=Random(1)), mme=(MME, 36412), sctp=choice.transport)
        with pytest.raises(TransportError, match="did not answer S1 SETUP"):
            await driver.start(within=0.05)
        silent.stop()
        elsewhere = EnbDriver(Enb(address=ENB, random=Random(1)), mme=("127.0.9.45", 36412), sctp=choice.transport)
        with pytest.raises(TransportError, match="cannot connect SCTP"):
            await elsewhere.start()

    asyncio.run(scenario())


def test_rubbish_from_the_mme_changes_nothing_and_its_loss_is_noticed(choice: Choice) -> None:
    async def scenario() -> None:
        mme = MinimalMme()
        await mme.listen(choice)
        enb = Enb(address=ENB, random=Random(1), mme=MME)
        enb.take_over(taken_over())
        driver = EnbDriver(enb, mme=(MME, 36412), sctp=choice.transport)
        await driver.start()
        assert mme.association is not None
        mme.association.send(b"rubbish")
        mme.send(s1ap.initial_ue_message(enb_ue_s1ap_id=1, nas_pdu=b"x", tai=nas.Tai("00101", 1), ecgi=ecgi()))
        mme.send(s1ap.ue_context_modification_request(**IDS))
        await until(lambda: mme.received[-1].name == "UEContextModificationResponse")
        mme.stop()
        await driver.until(lambda: enb.state is S1State.DOWN)
        assert driver.notes[-1].event == "mme_lost"
        driver.stop()

    asyncio.run(scenario())


def ecgi() -> s1ap.Ecgi:
    return s1ap.Ecgi("00101", 257)
