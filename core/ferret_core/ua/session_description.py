"""Offers and answers of a voice call (RFC 3264, GSMA IR.92 clause 3.2) with preconditions (RFC 3312, RFC 4032)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ferret.protocols.sip.sdp import Codec, Media, Sdp
from ferret_core.ua.events import MediaSession

SENDING: Final = frozenset({"sendrecv", "sendonly"})
_TELEPHONE_EVENT: Final = "telephone-event"
_AS: Final = 41  # kbit/s: AMR-WB at 12.65 kbit/s with IPv4, UDP and RTP (IR.92 clause 3.2.3, TS 26.114 annex K)
_AS_HELD: Final = 16  # kbit/s: comfort noise and RTCP, while one side or both are on hold
_RS: Final = 600  # bit/s, RTCP of senders (IR.92 clause 3.2.4)
_RR: Final = 2000  # bit/s, RTCP of receivers


@dataclass(frozen=True, slots=True)
class CodecOffer:
    """A codec that we have: its payload type in our offers, its rtpmap name and clock, its fmtp."""

    payload_type: int
    name: str
    clock: int
    fmtp: str = ""

    @property
    def rtpmap(self) -> str:
        """As in a=rtpmap."""
        return f"{self.name}/{self.clock}" + ("" if self.name == _TELEPHONE_EVENT else "/1")


CODECS: Final = (
    CodecOffer(104, "AMR-WB", 16000, "mode-change-capability=2;max-red=0"),
    CodecOffer(105, _TELEPHONE_EVENT, 16000, "0-15"),
    CodecOffer(102, "AMR", 8000, "mode-change-capability=2;max-red=0"),
    CodecOffer(103, _TELEPHONE_EVENT, 8000, "0-15"),
)


@dataclass(slots=True)
class Preconditions:
    """Which resources are reserved (RFC 3312 clause 4): ours, theirs. `used`: the session has preconditions at all."""

    used: bool = True
    ours: bool = False
    theirs: bool = False

    def lines(self, *, confirm: bool = False) -> list[str]:
        """The attributes. An answer asks with `confirm` to be told when the other side is ready."""
        if not self.used:
            return []
        lines = [
            f"curr:qos local {_status(self.ours)}",
            f"curr:qos remote {_status(self.theirs)}",
            "des:qos mandatory local sendrecv",
            f"des:qos {'mandatory' if confirm or self.theirs else 'optional'} remote sendrecv",
        ]
        return [*lines, "conf:qos remote sendrecv"] if confirm and not self.theirs else lines

    def learn(self, media: Media) -> None:
        """What the other side says of its own resources. One that says nothing has none to reserve."""
        if not media.preconditions:
            self.theirs = True
            return
        said = {words[1]: words[2] for one in media.attributes("curr") if len(words := one.split()) == 3}
        self.theirs = said.get("local", "none") in ("send", "recv", "sendrecv")


def _status(reserved: bool) -> str:
    return "sendrecv" if reserved else "none"


@dataclass(slots=True)
class Origin:
    """The o= line: its version grows with every change (RFC 3264 clause 8)."""

    number: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where we receive voice."""

    address: str
    port: int


def offer(
    place: Place, origin: Origin, codecs: Sequence[CodecOffer], conditions: Preconditions, direction: str = "sendrecv"
) -> bytes:
    """An offer of one audio stream."""
    formats = [Codec(str(one.payload_type), one.rtpmap, one.fmtp) for one in codecs]
    return _described(place, origin, [_audio(place.port, "RTP/AVP", formats, conditions.lines(), direction)])


def renewed(place: Place, origin: Origin, agreed: Sdp, conditions: Preconditions, direction: str) -> bytes:
    """An offer inside a call: the codec that is in use, another direction. `agreed` is our last description."""
    audio = next((one for one in agreed.media if one.type == "audio" and one.port), None)
    formats = list(audio.codecs) if audio is not None else []
    return _described(place, origin, [_audio(place.port, "RTP/AVP", formats, conditions.lines(), direction)])


def answer(
    offered: Sdp,
    place: Place,
    origin: Origin,
    codecs: Sequence[CodecOffer],
    conditions: Preconditions,
    wanted: str = "sendrecv",
) -> bytes | None:
    """The answer to an offer: its first audio stream with a codec of ours; None where there is none.

    `wanted`: the direction that we would like; what the offer leaves of it is answered.
    """
    index = audio_index(offered, codecs)
    if index is None:
        return None
    conditions.used = bool(offered.media[index].preconditions)
    conditions.learn(offered.media[index])
    parts = []
    for at, media in enumerate(offered.media):
        if at != index:
            parts.append([f"m={media.type} 0 {media.proto} {' '.join(media.formats)}"])
            continue
        chosen = _chosen(media, codecs)
        direction = answered_direction(offered.direction_of(at), wanted)
        lines = conditions.lines(confirm=True)
        parts.append(_audio(place.port, media.proto, chosen, lines, direction))
    return _described(place, origin, parts)


def audio_index(description: Sdp, codecs: Sequence[CodecOffer]) -> int | None:
    """The first audio stream that is not refused and has a codec of ours."""
    for at, media in enumerate(description.media):
        if media.type == "audio" and media.port and description.connection_of(at) and _chosen(media, codecs):
            return at
    return None


def agreed(ours: Sdp, theirs: Sdp, codecs: Sequence[CodecOffer]) -> MediaSession | None:
    """What an offer and its answer come to, whichever is whose; None where no codec is common to both."""
    mine, index = audio_index(ours, codecs), audio_index(theirs, codecs)
    if mine is None or index is None:
        return None
    media = theirs.media[index]
    names = {_key(one) for one in ours.media[mine].codecs}
    codec = next((one for one in _chosen(media, codecs) if _key(one) in names), None)
    if codec is None or not codec.format.isdecimal():
        return None
    return MediaSession(
        local_address=ours.connection_of(mine),
        local_port=ours.media[mine].port,
        remote_address=theirs.connection_of(index),
        remote_port=media.port,
        payload_type=int(codec.format[:3]),
        codec=codec.name.removesuffix("/1"),
        direction=answered_direction(theirs.direction_of(index), ours.direction_of(mine)),
    )


_TURNED: Final = {"sendonly": "recvonly", "recvonly": "sendonly"}


def answered_direction(offered: str, wanted: str = "sendrecv") -> str:
    """Our direction for an offered one (RFC 3264 clause 6.1): never more than we want ourselves."""
    seen = _TURNED.get(offered, offered)
    sends = seen in SENDING and wanted in SENDING
    receives = seen in ("sendrecv", "recvonly") and wanted in ("sendrecv", "recvonly")
    if sends and receives:
        return "sendrecv"
    return "sendonly" if sends else "recvonly" if receives else "inactive"


def _key(codec: Codec) -> str:
    return codec.name.lower().removesuffix("/1")


def _chosen(media: Media, codecs: Sequence[CodecOffer]) -> list[Codec]:
    """The first codec of an offer that we have, and telephone events of its clock if they are offered."""
    known = {one.rtpmap.lower().removesuffix("/1"): one for one in codecs}
    offered = [one for one in media.codecs if _key(one) in known]
    voice = next((one for one in offered if known[_key(one)].name != _TELEPHONE_EVENT), None)
    if voice is None:
        return []
    clock = known[_key(voice)].clock
    events = [one for one in offered if known[_key(one)].name == _TELEPHONE_EVENT and known[_key(one)].clock == clock]
    return [voice, *events[:1]]


def _audio(port: int, proto: str, formats: Sequence[Codec], conditions: Sequence[str], direction: str) -> list[str]:
    lines = [
        f"m=audio {port} {proto} {' '.join(one.format for one in formats)}",
        f"b=AS:{_AS if direction == 'sendrecv' else _AS_HELD}",
    ]
    lines += [f"b=RS:{_RS}", f"b=RR:{_RR}"]
    for one in formats:
        lines.append(f"a=rtpmap:{one.format} {one.name}")
        if one.fmtp:
            lines.append(f"a=fmtp:{one.format} {one.fmtp}")
    lines += ["a=ptime:20", "a=maxptime:240", *(f"a={line}" for line in conditions), f"a={direction}"]
    return lines


def _described(place: Place, origin: Origin, media: Sequence[Sequence[str]]) -> bytes:
    family = "IP6" if ":" in place.address else "IP4"
    origin.version += 1
    lines = [
        "v=0",
        f"o=- {origin.number} {origin.version} IN {family} {place.address}",
        "s=-",
        f"c=IN {family} {place.address}",
        "t=0 0",
        *(line for part in media for line in part),
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")
