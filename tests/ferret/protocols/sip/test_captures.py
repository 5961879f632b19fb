"""Every SIP message of every capture, against an independent decoder."""

from __future__ import annotations

import re
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

from ferret.errors import DecodeError
from ferret.protocols import sip

pytestmark = pytest.mark.tshark

FIELDS = (
    "frame.number",
    "udp.payload",
    "tcp.payload",
    "tcp.reassembled.data",
    "_ws.malformed",
    "sip.Request-Line",
    "sip.Status-Code",
    "sip.Method",
    "sip.r-uri",
    "sip.Call-ID",
    "sip.CSeq.seq",
    "sip.CSeq.method",
    "sip.Via.branch",
    "sip.from.tag",
    "sip.to.tag",
    "sip.Max-Forwards",
    "sip.contact.uri",
    "sdp.media.media",
    "sdp.media.port",
    "sdp.mime.type",
    "sdp.bandwidth.value",
)
SEPARATOR = "\x1f"


class Row(dict[str, list[str]]):
    """One frame as tshark sees it; every field with all its occurrences, outer layers first."""

    def one(self, name: str) -> str:
        return self[name][-1] if self[name] else ""


@lru_cache(maxsize=64)
def rows(path: Path) -> tuple[Row, ...]:
    command = ["tshark", "-r", str(path), "-Y", "sip && !icmp", "-T", "fields", "-E", f"aggregator={SEPARATOR}"]
    for name in FIELDS:
        command += ["-e", name]
    output = subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8", "replace")
    result = []
    for text in output.rstrip("\n").split("\n"):
        if text:
            values = [part.split(SEPARATOR) if part else [] for part in text.split("\t")]
            result.append(Row(zip(FIELDS, values, strict=True)))
    return tuple(result)


def octets_of(row: Row) -> list[bytes]:
    """What the frame carries for SIP: the innermost UDP payload, or the TCP payload as reassembled."""
    tcp = row["tcp.reassembled.data"] or row["tcp.payload"]
    if tcp:
        found, _ = cut(bytes.fromhex(row.one("tcp.reassembled.data") or tcp[-1]))
        return found
    return [bytes.fromhex(row.one("udp.payload"))] if row["udp.payload"] else []


def cut(stream: bytes) -> tuple[list[bytes], int]:
    found: list[bytes] = []
    at = 0
    while at < len(stream):
        try:
            length = sip.frame(stream, at)
        except DecodeError:
            break
        if not length:
            break
        found.append(stream[at : at + length])
        at += length
    return found, at


def test_every_message_of_every_capture_round_trips_exactly(all_captures: list[Path]) -> None:
    count, refused = 0, []
    for path in all_captures:
        for row in rows(path):
            for octets in octets_of(row):
                try:
                    message = sip.decode(octets)
                except DecodeError as error:
                    if not row["_ws.malformed"] and b" HTTP/1." not in octets[:200]:
                        refused.append(f"{path.name} {row.one('frame.number')}: {error}")
                    continue
                count += 1
                assert message.encode() == octets
                assert (seen := sip.peek(octets)) is not None
                assert seen.type == (message.method if message.is_request else str(message.status))
                if message.first("Content-Type").lower() == "application/sdp":
                    assert sip.sdp.decode(message.body).encode() == message.body
                paths = [parameter.path for parameter in sip.parameters(message)]
                assert len(paths) == len(set(paths))
    print(f"SIP messages decoded and encoded to the same octets: {count}, refused: {len(refused)}")  # noqa: T201
    assert refused == []
    assert count > 900


def test_our_reading_of_the_fields_is_that_of_tshark(own_captures: list[Path]) -> None:
    compared = 0
    for path in own_captures:
        for row in rows(path):
            for octets in octets_of(row):
                compare(row, sip.decode(octets))
                compared += 1
    print(f"SIP messages compared with tshark: {compared}")  # noqa: T201
    assert compared > 900


def compare(row: Row, message: sip.Message) -> None:
    summary = sip.summarise(message)
    if row["sip.Status-Code"]:
        assert message.status == int(row.one("sip.Status-Code"))
        assert summary.name == f"{message.status} ({row.one('sip.CSeq.method')})"
    else:
        assert message.method == row.one("sip.Method") == summary.name
        assert message.request_uri == row.one("sip.r-uri")
    fields = {parameter.path: parameter.value for parameter in sip.parameters(message)}
    assert fields["Call-ID"] == row.one("sip.Call-ID")
    assert str(fields["CSeq/number"]) == row.one("sip.CSeq.seq")
    assert fields["CSeq/method"] == row.one("sip.CSeq.method")
    assert fields["From/tag"] == row.one("sip.from.tag")
    assert fields.get("To/tag", "") == row.one("sip.to.tag")
    assert [sip.parse_via(value).branch for value in message.values("Via")] == row["sip.Via.branch"]
    assert str(fields.get("Max-Forwards", "")) == row.one("sip.Max-Forwards")
    contacts = [sip.parse_name_addr(value).uri for value in message.values("Contact")]
    assert [re.sub(r";.*", "", uri) for uri in contacts] == [re.sub(r";.*", "", u) for u in row["sip.contact.uri"]]
    compare_sdp(row, message)


def compare_sdp(row: Row, message: sip.Message) -> None:
    if not row["sdp.media.port"]:
        return
    description = sip.sdp.decode(message.body)
    assert [media.type for media in description.media] == row["sdp.media.media"]
    assert [str(media.port) for media in description.media] == row["sdp.media.port"]
    names = [c.name.partition("/")[0] for media in description.media for c in media.codecs if c.name]
    assert names == row["sdp.mime.type"]
    bandwidth = [*description.bandwidth.values(), *(b for media in description.media for b in media.bandwidth.values())]
    assert sorted(bandwidth) == sorted(int(value) for value in row["sdp.bandwidth.value"])
