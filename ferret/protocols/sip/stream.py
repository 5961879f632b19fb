"""Cutting a TCP stream into SIP messages by Content-Length (RFC 3261 clause 18.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ferret.errors import DecodeError
from ferret.protocols.sip.message import MAX_OCTETS, Message, decode

MAX_HEADER_OCTETS = 1 << 16
_PING = b"\r\n\r\n"

_HEADER_END = re.compile(rb"\n\r?\n")
_CONTENT_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


def frame(buffer: bytes, at: int = 0) -> int:
    """The length in octets of the message at `at`, leading line ends included; 0 while not all of it is there.

    Without Content-Length the body is taken as empty. Raises DecodeError where the stream cannot be followed.
    """
    begin = at
    while begin < len(buffer) and buffer[begin] in b"\r\n":
        begin += 1
    end = _HEADER_END.search(buffer, begin, begin + MAX_HEADER_OCTETS)
    if end is None:
        if len(buffer) - begin >= MAX_HEADER_OCTETS:
            raise DecodeError(f"a SIP header longer than {MAX_HEADER_OCTETS} octets", begin)
        return 0
    field = _CONTENT_LENGTH.search(buffer, begin, end.end())
    text = field[1].strip() if field else b"0"
    if not text.isdigit() or len(text) > 8 or int(text) > MAX_OCTETS:
        raise DecodeError(f"Content-Length {text[:20]!r} in a stream", begin)
    length = end.end() - at + int(text)
    return length if len(buffer) - at >= length else 0


class MessageStream:
    """One connection's octets, cut into messages as they come. What waits is never more than one message.

    `pings`: keep-alives (a double line end between messages, RFC 5626 clause 3.5.1) since `take_pings`.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._pings = 0

    def receive(self, octets: bytes) -> Iterator[Message]:
        """The messages that are complete now, one by one; to be taken to the end.

        Raises DecodeError behind the last of them where the stream cannot be followed any more.
        """
        self._buffer += octets
        while True:
            at = self._skip_line_ends()
            length = frame(self._buffer, at)
            octets, self._buffer = self._buffer[at : at + length], self._buffer[at + length :]
            if not length:
                return
            yield decode(octets)

    @property
    def is_amid_message(self) -> bool:
        """Whether a message has begun to come and its end has not."""
        return bool(self._buffer.strip(b"\r\n"))

    def take_pings(self) -> int:
        """How many keep-alives have come since the last call: each wants a line end back."""
        pings, self._pings = self._pings, 0
        return pings

    def _skip_line_ends(self) -> int:
        """Past what may stand between messages; an unfinished keep-alive is left until the rest of it is here."""
        buffer, at = self._buffer, 0
        while buffer.startswith(_PING, at):
            self._pings += 1
            at += len(_PING)
        if not _PING.startswith(buffer[at : at + len(_PING)]):
            while at < len(buffer) and buffer[at] in b"\r\n":
                at += 1
        return at
