"""Session descriptions (RFC 4566, offer/answer RFC 3264) as lines that are kept exactly, with a typed view.

Preconditions are those of RFC 3312, bandwidth for RTCP of RFC 3556.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from ferret.errors import DecodeError, LocalMisuseError

MAX_LINES = 4096
_LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
PRECONDITIONS = ("curr", "des", "conf")


class Line(NamedTuple):
    """One line: its letter, its value, and the octets as they came (with their line ending)."""

    type: str
    value: str
    raw: bytes


class Codec(NamedTuple):
    """One payload format of a media line."""

    format: str  # payload type number, or another format name
    name: str  # "AMR-WB/16000/1"; "" where no rtpmap says it
    fmtp: str


@dataclass(frozen=True, slots=True)
class Media:
    """One media description: its m= line and what belongs to it."""

    lines: tuple[Line, ...]

    @property
    def _words(self) -> list[str]:
        return self.lines[0].value.split()

    @property
    def type(self) -> str:
        """audio, video, message, …"""
        return _word(self._words, 0)

    @property
    def port(self) -> int:
        """The transport port; 0: the stream is refused or removed."""
        text = _word(self._words, 1).partition("/")[0]
        return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0

    @property
    def proto(self) -> str:
        """RTP/AVP, RTP/AVPF, …"""
        return _word(self._words, 2)

    @property
    def formats(self) -> tuple[str, ...]:
        """Payload formats in order of preference."""
        return tuple(self._words[3:])

    @property
    def connection(self) -> str:
        """The address of its own c= line; "" where the session's holds."""
        return _connection(self.lines)

    @property
    def bandwidth(self) -> dict[str, int]:
        """b= lines: AS in kbit/s; RS, RR, TIAS in bit/s."""
        return _bandwidth(self.lines)

    @property
    def direction(self) -> str:
        """sendrecv, sendonly, recvonly or inactive; "" where it does not say."""
        return _direction(self.lines)

    @property
    def codecs(self) -> tuple[Codec, ...]:
        """Each format with its rtpmap and fmtp."""
        maps = dict(_numbered(self.lines, "rtpmap"))
        fmtps = dict(_numbered(self.lines, "fmtp"))
        return tuple(Codec(form, maps.get(form, ""), fmtps.get(form, "")) for form in self.formats)

    @property
    def rtcp_port(self) -> int:
        """a=rtcp (RFC 3605); the next port where it does not say; 0 for a refused stream."""
        for value in self.attributes("rtcp"):
            text = value.split(" ", 1)[0]
            if text.isascii() and text.isdigit() and len(text) < 8:
                return int(text)
        return self.port + 1 if self.port else 0

    @property
    def preconditions(self) -> tuple[str, ...]:
        """curr, des and conf attributes, each as written: "curr:qos local none"."""
        return tuple(f"{name}:{value}" for name in PRECONDITIONS for value in self.attributes(name))

    def attributes(self, name: str) -> tuple[str, ...]:
        """The values of all attributes of this name ("" for a flag)."""
        return tuple(_attributes(self.lines, name))


@dataclass(frozen=True, slots=True)
class Sdp:
    """A session description."""

    session: tuple[Line, ...]
    media: tuple[Media, ...]
    line_end: bytes = b"\r\n"

    def encode(self) -> bytes:
        """The octets as decoded, but for what has been edited."""
        parts = [line.raw for line in self.session]
        parts += [line.raw for media in self.media for line in media.lines]
        return b"".join(parts)

    def first(self, letter: str) -> str:
        """The value of the first session-level line of this type; "" where there is none."""
        return next((line.value for line in self.session if line.type == letter), "")

    @property
    def origin(self) -> tuple[str, ...]:
        """o=: username, session id, version, network type, address type, address."""
        return tuple(self.first("o").split())

    @property
    def connection(self) -> str:
        """The address of the session's c= line; "" where only the media have one."""
        return _connection(self.session)

    @property
    def bandwidth(self) -> dict[str, int]:
        """Session-level b= lines: AS in kbit/s; RS, RR in bit/s."""
        return _bandwidth(self.session)

    @property
    def direction(self) -> str:
        """The session-level direction; "" where it does not say."""
        return _direction(self.session)

    def attributes(self, name: str) -> tuple[str, ...]:
        """The values of all session-level attributes of this name."""
        return tuple(_attributes(self.session, name))

    def connection_of(self, index: int) -> str:
        """The address at which a media stream is received: its own c= line or else the session's."""
        return self.media[index].connection or self.connection

    def direction_of(self, index: int) -> str:
        """The direction of a media stream, with the session's and at last sendrecv as default (RFC 3264)."""
        return self.media[index].direction or self.direction or "sendrecv"

    def with_connection(self, address: str, index: int | None = None) -> Sdp:
        """Another media address: of one stream, or of all of them and the session."""
        value = f"IN {'IP6' if ':' in address else 'IP4'} {address}"
        if index is not None:
            return self._with_media(index, self._set(self.media[index].lines, "c", value, 1))
        session = self._set(self.session, "c", value, None)
        media = tuple(Media(self._set(part.lines, "c", value, None)) for part in self.media)
        if any(line.type == "c" for line in session) or all(part.connection for part in media):
            return replace(self, session=session, media=media)
        return replace(self, session=(*session, self._line("c", value)), media=media)

    def with_port(self, index: int, port: int) -> Sdp:
        """Another port for one stream; its a=rtcp, if any, follows by one."""
        media = self.media[index]
        words = [media.type, str(port), *media._words[2:]]
        lines = (self._line("m", " ".join(words)), *media.lines[1:])
        moved = tuple(
            self._line("a", f"rtcp:{port + 1}") if line.type == "a" and line.value.startswith("rtcp:") else line
            for line in lines
        )
        return self._with_media(index, moved)

    def with_direction(self, direction: str, index: int | None = None) -> Sdp:
        """Another direction for one stream, or for all."""
        if direction not in DIRECTIONS:
            raise LocalMisuseError(f"{direction!r} is no direction of SDP")
        which = range(len(self.media)) if index is None else (index,)
        sdp = self
        for i in which:
            sdp = sdp._with_media(i, sdp._directed(sdp.media[i].lines, direction))
        return sdp

    def with_origin_address(self, address: str) -> Sdp:
        """Another address in o=."""
        origin = list(self.origin)
        if len(origin) != 6:
            return self
        origin[4:] = ["IP6" if ":" in address else "IP4", address]
        return replace(self, session=self._set(self.session, "o", " ".join(origin), None))

    def with_attribute(self, index: int, name: str, value: str) -> Sdp:
        """One stream with an attribute of this name and value, in place of any of that name."""
        text = f"{name}:{value}" if value else name
        lines = self.media[index].lines
        kept = [one for one in lines if one.type != "a" or one.value.partition(":")[0] != name]
        return self._with_media(index, (*kept, self._line("a", text)))

    def with_version_bump(self) -> Sdp:
        """The next version in o=, which RFC 3264 clause 8 asks of every change."""
        origin = list(self.origin)
        if len(origin) < 3 or not (origin[2].isascii() and origin[2].isdigit() and len(origin[2]) < 40):
            raise LocalMisuseError("an o= line without a version number")
        origin[2] = str(int(origin[2]) + 1)
        return replace(self, session=self._set(self.session, "o", " ".join(origin), None))

    def _with_media(self, index: int, lines: tuple[Line, ...]) -> Sdp:
        return replace(self, media=(*self.media[:index], Media(lines), *self.media[index + 1 :]))

    def _directed(self, lines: tuple[Line, ...], direction: str) -> tuple[Line, ...]:
        new = [line for line in lines if not (line.type == "a" and line.value in DIRECTIONS)]
        at = next((i for i, x in enumerate(lines) if x.type == "a" and x.value in DIRECTIONS), len(new))
        new.insert(min(at, len(new)), self._line("a", direction))
        return tuple(new)

    def _set(self, lines: tuple[Line, ...], letter: str, value: str, insert_at: int | None) -> tuple[Line, ...]:
        if any(line.type == letter for line in lines):
            return tuple(self._line(letter, value) if line.type == letter else line for line in lines)
        if insert_at is None:
            return lines
        return (*lines[:insert_at], self._line(letter, value), *lines[insert_at:])

    def _line(self, letter: str, value: str) -> Line:
        return Line(letter, value, f"{letter}={value}".encode("utf-8", "surrogateescape") + self.line_end)


def decode(octets: bytes) -> Sdp:
    """Read a session description; every line, and an unfinished last one, is kept. Raises DecodeError."""
    lines: list[Line] = []
    at = 0
    for match in _LINE.finditer(octets):
        raw = match[0]
        text = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if (text and (len(text) < 2 or text[1] != "=")) or len(lines) >= MAX_LINES:
            raise DecodeError("not a line of SDP", at)
        lines.append(Line(text[:1], text[2:], raw))
        at += len(raw)
    return _assembled(lines, octets)


def _assembled(lines: list[Line], octets: bytes) -> Sdp:
    if not lines or lines[0].type != "v":
        raise DecodeError("a session description that does not begin with v=")
    starts = [i for i, line in enumerate(lines) if line.type == "m"]
    edges = [*starts, len(lines)]
    media = tuple(Media(tuple(lines[a:b])) for a, b in pairwise(edges))
    session = tuple(lines[: edges[0]])
    return Sdp(session, media, b"\r\n" if b"\r\n" in octets else b"\n")


def _word(words: list[str], index: int) -> str:
    return words[index] if index < len(words) else ""


def address_of(line: Line) -> str:
    """The address in a c= line, without TTL; "" where there is none."""
    return _word(line.value.split(), 2).partition("/")[0]


def _connection(lines: tuple[Line, ...]) -> str:
    return next((address_of(line) for line in lines if line.type == "c"), "")


def _bandwidth(lines: tuple[Line, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in lines:
        name, colon, text = line.value.partition(":")
        if line.type == "b" and colon and text.strip().isdecimal() and len(text) < 16:
            found.setdefault(name, int(text))
    return found


def _direction(lines: tuple[Line, ...]) -> str:
    return next((line.value for line in lines if line.type == "a" and line.value in DIRECTIONS), "")


def _attributes(lines: tuple[Line, ...], name: str) -> Iterator[str]:
    for line in lines:
        if line.type == "a":
            found, _, value = line.value.partition(":")
            if found == name:
                yield value


def _numbered(lines: tuple[Line, ...], name: str) -> Iterator[tuple[str, str]]:
    for value in _attributes(lines, name):
        form, _, text = value.strip().partition(" ")
        yield form, text.strip()
