"""Every S1AP message of every capture: round trip, and our reading of its fields against tshark's."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ferret.errors import DecodeError
from ferret.protocols import nas, s1ap
from ferret.protocols.s1ap.parameters import parameters
from ferret.protocols.summary import Protocol
from ferret_agents.capture.reader import CaptureReader

# Two malformed messages that were published because they crash a parser (Open5GS pull request 2742).
MALFORMED = {("derived-s1ap-open5gs2742-asn1-crash.pcap", 1), ("derived-s1ap-open5gs2742-asn1-crash.pcap", 2)}


def messages(path: Path) -> list[tuple[int, bytes]]:
    found = CaptureReader(path)
    return [(one.frame, one.octets) for one in found if one.protocol is Protocol.S1AP and not one.flaws]


def test_every_message_of_every_capture_comes_back_octet_by_octet(
    all_captures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    refused = set()
    total = rebuilt = 0
    for path in all_captures:
        for frame, octets in messages(path):
            try:
                message = s1ap.decode(octets)
            except DecodeError:
                refused.add((path.name, frame))
                continue
            total += 1
            assert message.encode() == octets
            seen = s1ap.peek(octets)
            assert seen is not None and seen.type == message.name
            again = s1ap.build(message.kind, message.procedure_code, [(ie.id, ie.value) for ie in message.ies])
            known = [ie.value for ie in message.ies if ie.value is not None]
            assert [ie.value for ie in s1ap.decode(again.octets).ies] == known, (path.name, frame)
            rebuilt += again.octets == octets
    with capsys.disabled():
        sys.stdout.write(f"\n{total} S1AP messages come back exactly, {rebuilt} also when built anew from values\n")
    assert total > 200
    assert refused <= MALFORMED


def test_every_message_is_summarised_and_no_path_is_given_twice(all_captures: list[Path]) -> None:
    for path in all_captures:
        for frame, octets in messages(path):
            if (path.name, frame) in MALFORMED:
                continue
            message = s1ap.decode(octets)
            assert s1ap.summarise(message).name.startswith(message.name)
            paths = [parameter.path for parameter in s1ap.parameters(message)]
            assert len(paths) == len(set(paths)), (path.name, frame)


def _last(*names: str) -> Callable[[s1ap.Message], Iterable[int]]:
    """Numbers under paths that end with one of these names."""

    def read(message: s1ap.Message) -> Iterable[int]:
        for path, value in parameters(message):
            if path.rpartition("/")[2] in names and isinstance(value, int):
                yield value

    return read


def _ended(ending: str) -> Callable[[s1ap.Message], Iterable[int]]:
    def read(message: s1ap.Message) -> Iterable[int]:
        for path, value in parameters(message):
            if path.endswith(ending) and value is not None:
                yield int(str(value), 16) if isinstance(value, str) else value

    return read


def _addresses(message: s1ap.Message) -> Iterable[int]:
    for path, value in parameters(message):
        if path.endswith("PDN address/IPv4"):
            yield int.from_bytes(bytes(map(int, str(value).split("."))), "big")


def _types(discriminator: nas.Discriminator) -> Callable[[s1ap.Message], Iterable[int]]:
    def read(message: s1ap.Message) -> Iterable[int]:
        for octets in message.nas_pdus():
            plain = nas.decode(octets).plain
            for one in (plain, plain.esm if plain and plain.esm is not plain else None):
                if one is not None and one.discriminator is discriminator:
                    yield one.type

    return read


FIELDS: dict[str, Callable[[s1ap.Message], Iterable[int]]] = {
    "s1ap.procedureCode": lambda message: [message.procedure_code],
    "s1ap.MME_UE_S1AP_ID": _last("MME-UE-S1AP-ID", "mME-UE-S1AP-ID", "SourceMME-UE-S1AP-ID"),
    "s1ap.ENB_UE_S1AP_ID": _last("eNB-UE-S1AP-ID"),
    "s1ap.e_RAB_ID": _last("e-RAB-ID"),
    "s1ap.gTP_TEID": _last("gTP-TEID"),
    "s1ap.qCI": _last("qCI"),
    "nas_eps.nas_msg_emm_type": _types(nas.Discriminator.EMM),
    "nas_eps.nas_msg_esm_type": _types(nas.Discriminator.ESM),
    "nas_eps.msg_auth_code": _ended("NAS/Message authentication code"),
    "nas_eps.seq_no": _ended("NAS/Sequence number"),
    "nas_eps.emm.m_tmsi": _ended("/M-TMSI"),
    "nas_eps.esm.pdn_ipv4": _addresses,
    "nas_eps.esm.qci": _ended("EPS QoS/QCI"),
    "nas_eps.emm.toi": _ended("Type of integrity protection algorithm"),
    "nas_eps.emm.cause": _ended("EMM cause"),
    "nas_eps.esm.cause": _ended("ESM cause"),
}


def _tshark(path: Path) -> dict[int, dict[str, Counter[int]]]:
    wanted = [argument for field in FIELDS for argument in ("-e", field)]
    command = ["tshark", "-r", str(path), "-Y", "s1ap", "-T", "fields", "-e", "frame.number", *wanted]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    frames = {}
    for line in text.splitlines():
        number, *cells = line.split("\t")
        frames[int(number)] = {
            field: Counter(_number(field, one) for one in cell.split(",") if one)
            for field, cell in zip(FIELDS, cells, strict=True)
        }
    return frames


def _number(field: str, text: str) -> int:
    if text.count(".") == 3:
        return int.from_bytes(bytes(map(int, text.split("."))), "big")
    return int(text, 16) if field == "s1ap.gTP_TEID" else int(text, 0)


@pytest.mark.tshark
def test_fields_are_what_tshark_reads(all_captures: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    differences = []
    compared = 0
    for path in all_captures:
        ours: dict[int, dict[str, Counter[int]]] = defaultdict(lambda: {field: Counter() for field in FIELDS})
        for frame, octets in messages(path):
            if (path.name, frame) in MALFORMED:
                continue
            message = s1ap.decode(octets)
            for field, read in FIELDS.items():
                # a SERVICE REQUEST has a short MAC and sequence number, which tshark calls otherwise
                if field in ("nas_eps.msg_auth_code", "nas_eps.seq_no") and "(Service request)" in str(
                    s1ap.summarise(message).name
                ):
                    continue
                ours[frame][field].update(read(message))
        if not ours:
            continue
        theirs = _tshark(path)
        for frame, fields in ours.items():
            for field, values in fields.items():
                compared += 1
                other = theirs[frame][field]
                # tshark gives the pair of IDs in a UE CONTEXT RELEASE COMMAND twice, and looks into the containers
                # that two eNBs exchange at a handover, which no MME does
                same = values.keys() == other.keys() if field.endswith("S1AP_ID") else values == other
                if not same and not fields["s1ap.procedureCode"].keys() & {0, 1}:
                    differences.append((path.name, frame, field, dict(values), dict(other)))
    with capsys.disabled():
        sys.stdout.write(f"\n{compared} fields of S1AP and NAS compared with tshark\n")
    assert not differences, "\n".join(map(str, differences[:40]))
