"""tshark, an independent decoder, finds the same messages.

It may find fewer of these, and the reasons are stated where they are allowed:

- SIP in GTP-U tunnels, fragmented or over TCP. tshark keys inner fragments and inner connections by the inner addresses
  alone, so it mixes the copies from S1-U and S5-U (fragments of different tunnels make a datagram that is then counted
  once, TCP copies pass for retransmissions). We may find more, never fewer.
- SIP whose start line has a method or version that tshark does not take for SIP (RFC 4475's torture set).
- One datagram of UDP port 2123 that is not GTPv2-C: tshark reads its first octets as an Echo Request all the same.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from ferret.protocols import sip
from ferret.protocols.summary import Protocol
from ferret_agents.capture.reader import CaptureResult, read

FIELDS = (
    "gtpv2.message_type",
    "diameter.cmd.code",
    "diameter.applicationId",
    "diameter.flags.request",
    "s1ap.procedureCode",
    "sip.Method",
    "sip.Status-Code",
)
Counts = Counter[tuple[str, ...]]


def ours(result: CaptureResult) -> Counts:
    counts: Counts = Counter()
    for message in result.messages:
        octets = message.octets
        if message.protocol is Protocol.GTPV2:
            counts["gtpv2", str(octets[1])] += 1
        elif message.protocol is Protocol.DIAMETER:
            command, application = int.from_bytes(octets[5:8], "big"), int.from_bytes(octets[8:12], "big")
            counts["diameter", str(command), str(application), str(octets[4] >> 7)] += 1
        elif message.protocol is Protocol.S1AP:
            counts["s1ap", str(octets[1])] += 1
        else:
            seen = sip.peek(octets)
            counts["sip", seen.type if seen is not None else "?"] += 1
    return counts


def decode_as(result: CaptureResult) -> list[str]:
    """The ports where messages were found: tshark needs telling what we see from the octets."""
    found: set[str] = set()
    for message in result.messages:
        port = min(message.source.port, message.destination.port)
        if message.protocol is Protocol.DIAMETER and message.transport == "tcp" and port != 3868:
            found.add(f"tcp.port=={port},diameter")
        elif message.protocol is Protocol.SIP and port != 5060:
            found.add(f"{message.transport}.port=={port},sip")
    return [part for rule in sorted(found) for part in ("-d", rule)]


def theirs(path: Path, result: CaptureResult) -> Counts:
    fields = [part for name in FIELDS for part in ("-e", name)]
    esp = ["-o", "esp.enable_null_encryption_decode_heuristic:TRUE"]
    command = ["tshark", "-n", "-r", str(path), *esp, *decode_as(result), "-T", "fields", "-E", "occurrence=a"]
    run = subprocess.run([*command, "-E", "separator=|", *fields], capture_output=True, text=True, check=True)
    counts: Counts = Counter()
    for line in run.stdout.splitlines():
        gtpv2, commands, applications, requests, procedures, methods, statuses = (
            [value for value in column.split(",") if value] for column in line.split("|")
        )
        counts.update(("gtpv2", value) for value in gtpv2)
        counts.update(("s1ap", value) for value in procedures)
        counts.update(("sip", value) for value in (*methods, *statuses))
        for number, application, request in zip(commands, applications, requests, strict=True):
            counts["diameter", number, application, str(int(request in ("1", "True")))] += 1
    return counts


def split_over_packets_in_tunnels(result: CaptureResult) -> bool:
    return any(
        message.tunnel and (message.transport == "tcp" or len(message.octets) > 1300) for message in result.messages
    )


@pytest.mark.tshark
def test_tshark_finds_the_same_messages_of_every_type(all_captures: list[Path]) -> None:
    wrong: list[str] = []
    for path in all_captures:
        result = read(path)
        mine, other = ours(result), theirs(path, result)
        more, fewer = mine - other, other - mine
        if split_over_packets_in_tunnels(result) or "torture" in path.name:
            more = Counter({key: count for key, count in more.items() if key[0] != "sip"})
        if "false-positive" in path.name:
            fewer.pop(("gtpv2", "1"), None)
        if more or fewer:
            wrong.append(f"{path.name}: more {dict(more)}, fewer {dict(fewer)}")
    assert not wrong, "\n".join(wrong)
