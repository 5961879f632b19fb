"""RTP packets (RFC 3550 clause 5) and the little of RTCP that a voice call needs: SR, RR, SDES and BYE (clause 6)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from ferret.errors import DecodeError

_VERSION: Final = 2
_HEADER = struct.Struct("!BBHII")
_REPORT_BLOCK = struct.Struct("!IIIIII")
_SENDER = struct.Struct("!IIIII")
_SR, _RR, _SDES, _BYE = 200, 201, 202, 203
_CNAME: Final = 1
NTP_EPOCH: Final = 2_208_988_800
"""Seconds from 1900, where NTP starts (RFC 5905), to 1970."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet. `extension`: the header extension with its profile and length, b"" where there is none."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrc: tuple[int, ...] = ()
    extension: bytes = b""

    def encode(self) -> bytes:
        """The packet's octets, without padding."""
        first = _VERSION << 6 | bool(self.extension) << 4 | len(self.csrc)
        second = self.marker << 7 | self.payload_type
        head = _HEADER.pack(first, second, self.sequence, self.timestamp, self.ssrc)
        return head + b"".join(one.to_bytes(4, "big") for one in self.csrc) + self.extension + self.payload


def decode(octets: bytes) -> RtpPacket:
    """Read an RTP packet; padding is taken off. Raises DecodeError."""
    if len(octets) < _HEADER.size:
        raise DecodeError("too short for RTP", len(octets))
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(octets)
    if first >> 6 != _VERSION:
        raise DecodeError("not RTP version 2")
    if 64 <= second & 0x7F <= 95 and second & 0x80:
        raise DecodeError("RTCP, not RTP", 1)  # RFC 5761 clause 4
    at = _HEADER.size + 4 * (first & 15)
    csrc = tuple(int.from_bytes(octets[i : i + 4], "big") for i in range(_HEADER.size, at, 4))
    start = at
    if first & 0x10:
        at += 4 + 4 * int.from_bytes(octets[at + 2 : at + 4], "big")
    end = len(octets) - (octets[-1] if first & 0x20 else 0)
    if at > end or (first & 0x10 and start + 4 > len(octets)) or (first & 0x20 and not octets[-1]):
        raise DecodeError("RTP header or padding longer than the packet", min(at, len(octets)))
    return RtpPacket(
        second & 0x7F, sequence, timestamp, ssrc, octets[at:end], bool(second & 0x80), csrc, octets[start:at]
    )


class ReportBlock(NamedTuple):
    """What a receiver says of one source (RFC 3550 clause 6.4.1). `lost` is cumulative, and can be negative."""

    ssrc: int
    fraction_lost: int  # of 256, since the last report
    lost: int
    highest: int  # extended sequence number
    jitter: int  # timestamp units
    last_sr: int = 0  # middle 32 bits of its NTP time
    since_last_sr: int = 0  # 1/65536 s


class SenderInfo(NamedTuple):
    """What a sender says of itself in an SR. `ntp` is 32.32 bits."""

    ntp: int
    timestamp: int
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class RtcpReport:
    """A compound RTCP packet: SR (RR without `sender`), SDES with the CNAME, and BYE at the end of the session."""

    ssrc: int
    cname: str = ""
    sender: SenderInfo | None = None
    blocks: tuple[ReportBlock, ...] = ()
    bye: bool = False

    def encode(self) -> bytes:
        """The compound's octets. A CNAME is always there (RFC 3550 clause 6.1)."""
        body = self.ssrc.to_bytes(4, "big")
        if self.sender is not None:
            sender = self.sender
            body += _SENDER.pack(
                sender.ntp >> 32, sender.ntp & 0xFFFFFFFF, sender.timestamp, sender.packets, sender.octets
            )
        for one in self.blocks:
            lost = one.fraction_lost << 24 | max(-(1 << 23), min(one.lost, (1 << 23) - 1)) & 0xFFFFFF
            body += _REPORT_BLOCK.pack(one.ssrc, lost, one.highest, one.jitter, one.last_sr, one.since_last_sr)
        name = self.cname.encode()[:255]
        item = self.ssrc.to_bytes(4, "big") + bytes((_CNAME, len(name))) + name
        item += bytes(4 - len(item) % 4)  # at least one null octet ends the list of items
        octets = _part(_RR if self.sender is None else _SR, len(self.blocks), body) + _part(_SDES, 1, item)
        return octets + (_part(_BYE, 1, self.ssrc.to_bytes(4, "big")) if self.bye else b"")


def decode_report(octets: bytes) -> RtcpReport:
    """Read a compound RTCP packet; parts of other types are passed over. Raises DecodeError."""
    parts = list(_parts(octets))
    if not parts or parts[0][0] not in (_SR, _RR) or len(parts[0][2]) < 4:
        raise DecodeError("a compound RTCP packet starts with SR or RR")
    kind, count, body = parts[0]
    at, sender = 4, None
    if kind == _SR:
        if len(body) < 4 + _SENDER.size:
            raise DecodeError("SR too short", len(body))
        high, low, timestamp, packets, sent = _SENDER.unpack_from(body, 4)
        at, sender = 4 + _SENDER.size, SenderInfo(high << 32 | low, timestamp, packets, sent)
    if len(body) < at + count * _REPORT_BLOCK.size:
        raise DecodeError("fewer report blocks than counted", len(body))
    blocks = tuple(_block(body, at + number * _REPORT_BLOCK.size) for number in range(count))
    cname = next((_cname(part) for kind, _, part in parts if kind == _SDES), "")
    return RtcpReport(int.from_bytes(body[:4], "big"), cname, sender, blocks, any(kind == _BYE for kind, _, _ in parts))


def _block(body: bytes, at: int) -> ReportBlock:
    ssrc, lost, highest, jitter, last_sr, since = _REPORT_BLOCK.unpack_from(body, at)
    cumulative = lost & 0xFFFFFF
    return ReportBlock(
        ssrc, lost >> 24, cumulative - (1 << 24 if cumulative >> 23 else 0), highest, jitter, last_sr, since
    )


def _cname(part: bytes) -> str:
    """The CNAME of the first chunk, where it is the first item."""
    if len(part) < 6 or part[4] != _CNAME:
        return ""
    return part[6 : 6 + part[5]].decode("utf-8", "replace")


def _part(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", _VERSION << 6 | count, kind, len(body) // 4) + body


def _parts(octets: bytes) -> list[tuple[int, int, bytes]]:
    """Type, count and body of each part."""
    parts, at = [], 0
    while at < len(octets):
        if at + 4 > len(octets) or octets[at] >> 6 != _VERSION:
            raise DecodeError("no RTCP", at)
        end = at + 4 + 4 * int.from_bytes(octets[at + 2 : at + 4], "big")
        if end > len(octets):
            raise DecodeError("RTCP part longer than the packet", at)
        parts.append((octets[at + 1], octets[at] & 31, octets[at + 4 : end]))
        at = end
    return parts
