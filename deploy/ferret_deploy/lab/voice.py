"""A voice stream: its source, its sink, and what each says of it by RTCP. Sans-IO.

The codec is AMR-WB at 12.65 kbit/s, bandwidth-efficient (RFC 4867 clause 4.3), as voice over LTE has it (GSMA IR.92): a
frame of 20 ms each 20 ms. In place of speech, a frame holds when it was sent, so that on one machine each packet's
one-way delay is measured.
"""

from __future__ import annotations

import struct
from array import array
from random import Random
from typing import Final, NamedTuple

from ferret.errors import DecodeError
from ferret_deploy.lab import rtp
from ferret_deploy.lab.rtp import NTP_EPOCH, ReportBlock, RtcpReport, RtpPacket, SenderInfo

FRAME: Final = 0.02
"""Seconds of speech in a packet: 50 packets per second."""
CLOCK_RATE: Final = 16_000
"""Timestamp units per second (RFC 4867 clause 4.1)."""
PAYLOAD_TYPE: Final = 104
_STEP: Final = int(CLOCK_RATE * FRAME)
# Bits: 1111, no mode request; 0, last frame; 0010, frame type 2; 1, quality good.
_NO_MODE_REQUEST, _GOOD_12_65 = 0xF1, 0x40
_PAYLOAD: Final = 33  # octets: those 10 bits, 253 of speech, 1 of padding
_MARK: Final = b"FERRETvc"
_STAMP = struct.Struct("!BB8sq8s")  # CMR and ToC, mark, monotonic ns, path
_KEPT: Final = 1 << 20  # packets of one stream: almost six hours


class Heard(NamedTuple):
    """One packet that arrived. Times are in seconds, monotonic. `path`: over what it came."""

    number: int  # extended sequence number
    sent_at: float
    arrived_at: float
    path: str = ""

    @property
    def delay(self) -> float:
        """One way, in seconds."""
        return self.arrived_at - self.sent_at


class VoiceSource:
    """Makes the packets of one stream. `sent_at[n]` is when packet `first + n` was sent."""

    def __init__(self, random: Random, *, payload_type: int = PAYLOAD_TYPE) -> None:
        self.ssrc = random.getrandbits(32)
        self.first = random.getrandbits(15)  # the first extended sequence number
        self.sent_at = array("d")
        self._payload_type = payload_type
        self._first_timestamp = random.getrandbits(32)
        self._ticks = 0  # frames of 20 ms since the start, silent ones included
        self._talking = False
        self._octets = 0

    def packet(self, now: float, *, path: str = "") -> bytes:
        """The next 20 ms of speech. `path`: which way it goes as the sender knows it, at most 8 ASCII letters."""
        index = self.first + len(self.sent_at)
        payload = _STAMP.pack(_NO_MODE_REQUEST, _GOOD_12_65, _MARK, round(now * 1e9), path.encode()[:8])
        payload = payload.ljust(_PAYLOAD, b"\0")
        packet = RtpPacket(
            self._payload_type, index & 0xFFFF, self.timestamp, self.ssrc, payload, marker=not self._talking
        )
        self._talking = True
        self._ticks += 1
        self._octets += len(payload)
        if len(self.sent_at) < _KEPT:
            self.sent_at.append(now)
        return packet.encode()

    def pause(self, seconds: float) -> None:
        """Say nothing for so long, as on hold: the timestamp goes on, sequence numbers do not (RFC 3550 clause 5.1)."""
        self._ticks += round(seconds / FRAME)
        self._talking = False

    @property
    def timestamp(self) -> int:
        """Of the next packet."""
        return (self._first_timestamp + self._ticks * _STEP) & 0xFFFFFFFF

    def sender_info(self, wall: float) -> SenderInfo:
        """For an SR; `wall` is seconds since 1970."""
        ntp = round((wall + NTP_EPOCH) * (1 << 32)) & ((1 << 64) - 1)
        return SenderInfo(ntp, self.timestamp, len(self.sent_at) & 0xFFFFFFFF, self._octets & 0xFFFFFFFF)


class VoiceSink:
    """Takes the packets of one stream: that of the first SSRC it hears, or of `ssrc`."""

    def __init__(self, *, ssrc: int | None = None) -> None:
        self.ssrc = ssrc
        self.heard: list[Heard] = []
        self.duplicates = 0
        self.foreign = 0  # packets of other sources, or no RTP of ours
        self.jitter = 0.0  # timestamp units (RFC 3550 clause A.8)
        self._numbers: set[int] = set()
        self._lowest = self._highest = 0
        self._transit: float | None = None
        self._reported = (0, 0)  # expected and received at the last report
        self._last_sr: tuple[int, float] | None = None  # its NTP time, when it came

    def receive(self, octets: bytes, now: float, *, path: str = "") -> Heard | None:
        """Take one RTP packet; None where it is of no use. `path`: as the receiver sees it, else as the sender said."""
        try:
            packet = rtp.decode(octets)
        except DecodeError:
            packet = None
        if packet is None or len(packet.payload) < _STAMP.size or self.ssrc not in (None, packet.ssrc):
            self.foreign += 1
            return None
        _, _, mark, stamp, said = _STAMP.unpack_from(packet.payload)
        if mark != _MARK:
            self.foreign += 1
            return None
        self.ssrc = packet.ssrc
        heard = Heard(
            self._extend(packet.sequence), stamp / 1e9, now, path or said.rstrip(b"\0").decode("ascii", "replace")
        )
        if heard.number in self._numbers or len(self.heard) >= _KEPT:
            self.duplicates += 1
            return None
        self._numbers.add(heard.number)
        self.heard.append(heard)
        self._estimate_jitter(now, packet.timestamp)
        return heard

    def receive_report(self, report: RtcpReport, now: float) -> None:
        """Take an RTCP report of the other side: its SR is acknowledged in ours."""
        if report.sender is not None:
            self._last_sr = report.sender.ntp >> 16 & 0xFFFFFFFF, now

    def report_block(self, now: float) -> ReportBlock | None:
        """What to report of the stream (RFC 3550 clause A.3); None before its first packet."""
        if self.ssrc is None or not self.heard:
            return None
        expected, received = self._highest - self._lowest + 1, len(self.heard) + self.duplicates
        new, got = expected - self._reported[0], received - self._reported[1]
        self._reported = expected, received
        fraction = min(255, 256 * (new - got) // new) if new > got else 0
        last, since = (0, 0) if self._last_sr is None else (self._last_sr[0], round((now - self._last_sr[1]) * 65536))
        highest = self._highest & 0xFFFFFFFF
        return ReportBlock(self.ssrc, fraction, expected - received, highest, int(self.jitter), last, since)

    def _extend(self, sequence: int) -> int:
        """The sequence number without its wrapping (RFC 3550 clause A.1)."""
        if not self.heard:
            self._lowest = self._highest = sequence
            return sequence
        ahead = (sequence - self._highest) & 0xFFFF
        index = self._highest + (ahead if ahead < 0x8000 else ahead - 0x10000)
        self._highest, self._lowest = max(self._highest, index), min(self._lowest, index)
        return index

    def _estimate_jitter(self, now: float, timestamp: int) -> None:
        transit = (now * CLOCK_RATE - timestamp) % (1 << 32)
        if self._transit is not None:
            apart = abs(transit - self._transit)
            self.jitter += (min(apart, (1 << 32) - apart) - self.jitter) / 16
        self._transit = transit


def report(source: VoiceSource, sink: VoiceSink, *, cname: str, now: float, wall: float, bye: bool = False) -> bytes:
    """The compound RTCP packet of one side of a call: SR of what it sends, with a block on what it hears."""
    block = sink.report_block(now)
    blocks = () if block is None else (block,)
    return RtcpReport(source.ssrc, cname, source.sender_info(wall), blocks, bye).encode()
