"""The emulated device beside recorded ones: given their keys, it answers a real MME with the very same octets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ferret.protocols import nas, s1ap
from ferret.protocols.nas import NasSecurityContext
from ferret.protocols.summary import Protocol
from ferret_agents.capture.reader import CaptureReader
from ferret_core.enb import EmmState, ImportedUe, Ue

_RAND_AVP, _KASME_AVP = (1447).to_bytes(4, "big"), (1450).to_bytes(4, "big")  # TS 29.272 clause 7.3
_SPONTANEOUS = {"PDN connectivity request", "PDN disconnect request", "Detach request"}


def recorded(path: Path) -> Iterator[tuple[str, bool, bytes] | tuple[bytes, bytes]]:
    """NAS messages (device, whether downlink, octets) and authentication vectors (RAND, K_ASME), in order."""
    for message in CaptureReader(path):
        if message.protocol is Protocol.DIAMETER and _KASME_AVP in message.octets:
            rand, k_asme = (message.octets.index(code) + 12 for code in (_RAND_AVP, _KASME_AVP))
            yield message.octets[rand : rand + 16], message.octets[k_asme : k_asme + 32]
        elif message.protocol is Protocol.S1AP:
            decoded = s1ap.decode(message.octets)
            downlink = decoded.name not in ("InitialUEMessage", "UplinkNASTransport")
            enb = message.destination.address if downlink else message.source.address
            for nas_pdu in decoded.nas_pdus():
                yield f"{enb}/{decoded.enb_ue_s1ap_id}", downlink, nas_pdu


class Beside:
    """One recorded device, and the emulated one that is to do the same."""

    def __init__(self) -> None:
        self.k_asme = b""
        self.ue: Ue | None = None
        self.answers: list[bytes] = []
        self.equal = 0
        self.different: list[str] = []

    def downlink(self, octets: bytes, vectors: dict[bytes, bytes]) -> None:
        message = nas.decode(octets)
        plain = message.plain
        assert plain is not None
        if plain.name == "Authentication request":
            self.k_asme = vectors.get(plain.get("RAND") or b"", b"")
        elif plain.name == "Security mode command" and self.k_asme:
            selected = plain.number("Selected NAS security algorithms") or 0
            security = NasSecurityContext(self.k_asme, selected & 7, selected >> 4 & 7, 0, 1, 0)
            _, verified = security.unprotect(message, nas.Direction.DOWNLINK)
            assert verified
            self.ue = Ue.taken_over(ImportedUe("0", 1, security=security))
            self.ue.state = EmmState.REGISTERED_INITIATED
        elif self.ue is not None:
            self.answers += self.ue.receive(octets).uplink

    def uplink(self, octets: bytes) -> None:
        name = nas.decode(octets).name
        if self.ue is None or name == "Security mode complete":
            return
        assert self.ue.security is not None
        if name in _SPONTANEOUS:
            self.ue.security.uplink_count += 1
            if name == "Detach request":
                self.ue.state = EmmState.DEREGISTERED_INITIATED
        elif self.answers and self.answers.pop(0) == octets:
            self.equal += 1
        else:
            self.different.append(name)


@pytest.mark.parametrize(
    ("name", "devices", "answers"),
    [("volte-call-full.pcap", 2, 7), ("volte-multi-6.pcap", 6, 2), ("open5gs-volte.pcap", 1, 6)],
)
def test_it_answers_a_real_mme_as_the_recorded_device_did(
    capture: Callable[[str], Path], name: str, devices: int, answers: int
) -> None:
    vectors: dict[bytes, bytes] = {}
    found: dict[str, Beside] = {}
    for item in recorded(capture(name)):
        if len(item) == 2:
            vectors[item[0]] = item[1]
            continue
        device = found.setdefault(item[0], Beside())
        if item[1]:
            device.downlink(item[2], vectors)
        else:
            device.uplink(item[2])
    assert len(found) == devices
    for device in found.values():
        assert device.different == []
        assert device.ue is not None
        assert device.ue.discarded == 0
        assert device.equal >= answers
