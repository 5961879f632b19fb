"""A SIP message as it was on the wire (RFC 3261 clause 7): start line, header lines and body, octet for octet.

Nothing is normalised: compact forms, folding, order, capitals and line endings stay as they came. An edit makes a new
message in which only the named header line differs. Octets that are not UTF-8 appear as surrogate escapes in the text
and are written back unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from ferret.errors import DecodeError, LocalMisuseError
from ferret.protocols.sip.names import LIST_FIELDS, canonical
from ferret.protocols.sip.syntax import split_values

MAX_OCTETS = 1 << 20  # of one message; UDP carries at most 65,507
MAX_HEADER_LINES = 1024
VERSION = "SIP/2.0"

_HEADER_END = re.compile(rb"\n\r?\n")
_LINE = re.compile(rb"[^\n]*\n(?:[ \t]+[^\n]*\n)*")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_NAME = re.compile(r"[!-9;-~]+\Z")
_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")
_REQUEST_LINE = re.compile(r"([A-Za-z0-9\-.!%*_+`'~]+)[ \t]+(\S.*?)[ \t]+SIP/\d+\.\d+[ \t]*\Z")
_STATUS_LINE = re.compile(r"SIP/\d+\.\d+[ \t]+(\d{3})(?:[ \t]+(.*))?\Z")
_DIGITS = re.compile(r"\d{1,10}\Z", re.ASCII)


class HeaderLine(NamedTuple):
    """One header line, or several folded into one (RFC 3261 clause 7.3.1)."""

    name: str  # as written
    canonical: str  # the long name: "Via" for "v"
    value: str  # unfolded, without white space around it
    raw: bytes  # as on the wire, with its line ending

    @property
    def values(self) -> tuple[str, ...]:
        """The values of a list field; the whole value of any other one."""
        if self.canonical in LIST_FIELDS and "," in self.value:
            return split_values(self.value)
        return (self.value,)


@dataclass(frozen=True, slots=True)
class Message:
    """One SIP request or response."""

    start_line: str
    headers: tuple[HeaderLine, ...]
    body: bytes = b""
    leading: bytes = b""  # CRLF before the start line, which clause 7.5 tells receivers to ignore
    line_end: bytes = b"\r\n"  # of the start line, and of every line that an edit writes
    blank_line: bytes = b"\r\n"
    trailing: bytes = b""  # what came behind the body in the same datagram, to be ignored (clause 18.3)

    # ---- what it is

    @property
    def is_request(self) -> bool:
        """Whether it is a request."""
        return not self.start_line.startswith("SIP/")

    @property
    def method(self) -> str:
        """The method of a request; of a response, the one in its CSeq ("" if that has none)."""
        if self.is_request:
            return self.start_line.split(None, 1)[0]
        parts = self.first("CSeq").split()
        return parts[1] if len(parts) > 1 else ""

    @property
    def request_uri(self) -> str:
        """The Request-URI; "" in a response."""
        match = _REQUEST_LINE.match(self.start_line)
        return match[2] if match else ""

    @property
    def status(self) -> int:
        """The Status-Code; 0 in a request."""
        match = _STATUS_LINE.match(self.start_line)
        return int(match[1]) if match else 0

    @property
    def reason(self) -> str:
        """The Reason-Phrase; "" in a request."""
        match = _STATUS_LINE.match(self.start_line)
        return (match[2] or "") if match else ""

    def encode(self) -> bytes:
        """The octets as they were decoded, but for what has been edited since."""
        lines = b"".join([line.raw for line in self.headers])
        start = self.start_line.encode("utf-8", "surrogateescape")
        return b"".join((self.leading, start, self.line_end, lines, self.blank_line, self.body, self.trailing))

    @property
    def flaws(self) -> tuple[str, ...]:
        """What is wrong with the message although it can be read: "Content-Length 900 but body of 12 octets"."""
        lengths = {line.value for line in self.headers if line.canonical == "Content-Length"}
        return tuple(
            f"Content-Length {text[:20]!r} but body of {len(self.body)} octets"
            for text in sorted(lengths)
            if not _DIGITS.match(text) or int(text) != len(self.body)
        )

    # ---- reading header fields

    def has(self, name: str) -> bool:
        """Whether a header line of this name (in any form) is there."""
        wanted = canonical(name)
        return any(line.canonical == wanted for line in self.headers)

    def values(self, name: str) -> tuple[str, ...]:
        """All values of all lines of this name, in order; list fields are split at their commas."""
        wanted = canonical(name)
        return tuple(value for line in self.headers if line.canonical == wanted for value in line.values)

    def first(self, name: str) -> str:
        """The first value of this name; "" where there is none."""
        wanted = canonical(name)
        for line in self.headers:
            if line.canonical == wanted:
                return line.values[0] if wanted in LIST_FIELDS else line.value
        return ""

    # ---- editing: each gives a new message

    def with_request_uri(self, uri: str) -> Message:
        """The same request for another Request-URI."""
        if not self.is_request:
            raise LocalMisuseError("a response has no Request-URI")
        if not uri or any(letter in uri for letter in " \t\r\n"):
            raise LocalMisuseError("white space in a Request-URI")
        return replace(self, start_line=f"{self.method} {uri} {VERSION}")

    def with_header(self, name: str, value: str) -> Message:
        """The field of this name has exactly this value: the first line is changed, others of the name go."""
        wanted = canonical(name)
        lines: list[HeaderLine] = []
        done = False
        for line in self.headers:
            if line.canonical != wanted:
                lines.append(line)
            elif not done:
                lines.append(self._line(line.name, value))
                done = True
        if not done:
            lines.append(self._line(name, value))
        return replace(self, headers=tuple(lines))

    def prepend(self, name: str, value: str) -> Message:
        """A new line of this name above the first one of that name, or above everything."""
        wanted = canonical(name)
        at = next((i for i, line in enumerate(self.headers) if line.canonical == wanted), 0)
        return self._inserted(at, name, value)

    def append(self, name: str, value: str) -> Message:
        """A new line of this name below the last one of that name, or below everything."""
        wanted = canonical(name)
        last = [i for i, line in enumerate(self.headers) if line.canonical == wanted]
        return self._inserted(last[-1] + 1 if last else len(self.headers), name, value)

    def remove(self, *names: str) -> Message:
        """Without any line of these names."""
        unwanted = {canonical(name) for name in names}
        lines = tuple(line for line in self.headers if line.canonical not in unwanted)
        return self if len(lines) == len(self.headers) else replace(self, headers=lines)

    def replace_first_value(self, name: str, value: str) -> Message:
        """The first value of this name becomes `value`; the other values, of that line too, stay."""
        return self._first_value(name, (value,))

    def remove_first_value(self, name: str) -> Message:
        """Without the first value of this name; its line goes when it was the only one there."""
        return self._first_value(name, ())

    def with_body(self, body: bytes, content_type: str = "") -> Message:
        """Another body with its Content-Length, and its Content-Type where one is given."""
        message = replace(self, body=body, trailing=b"")
        if content_type:
            message = message.with_header("Content-Type", content_type)
        elif not body:
            message = message.remove("Content-Type")
        return message.with_header("Content-Length", str(len(body)))

    def _first_value(self, name: str, values: tuple[str, ...]) -> Message:
        wanted = canonical(name)
        for i, line in enumerate(self.headers):
            if line.canonical == wanted:
                kept = (*values, *line.values[1:])
                new = (self._line(line.name, ", ".join(kept)),) if kept else ()
                return replace(self, headers=(*self.headers[:i], *new, *self.headers[i + 1 :]))
        return self

    def _inserted(self, at: int, name: str, value: str) -> Message:
        line = self._line(name, value)
        return replace(self, headers=(*self.headers[:at], line, *self.headers[at:]))

    def _line(self, name: str, value: str) -> HeaderLine:
        return header_line(name, value, self.line_end)


def header_line(name: str, value: str, line_end: bytes = b"\r\n") -> HeaderLine:
    """A new header line. Raises LocalMisuseError where the value would break out of its line."""
    if "\n" in value or "\r" in value or not _NAME.match(name):
        raise LocalMisuseError(f"a header field that cannot be written: {name!r}")
    raw = f"{name}: {value}".encode("utf-8", "surrogateescape") + line_end
    return HeaderLine(name, canonical(name), value, raw)


def request(method: str, uri: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Message:
    """A new request; Content-Length is added."""
    return _built(f"{method} {uri} {VERSION}", headers, body)


def response(status: int, reason: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Message:
    """A new response; Content-Length is added."""
    return _built(f"{VERSION} {status} {reason}", headers, body)


def _built(start_line: str, headers: Iterable[tuple[str, str]], body: bytes) -> Message:
    lines = [header_line(name, value) for name, value in headers]
    lines.append(header_line("Content-Length", str(len(body))))
    return Message(start_line, tuple(lines), body)


def decode(octets: bytes) -> Message:
    """Read one message: a datagram, or what `split` cut out of a stream.

    Bare line feeds instead of CRLF are accepted and kept. A Content-Length that cannot be right is kept too and
    appears in `flaws`. Raises DecodeError.
    """
    if len(octets) > MAX_OCTETS:
        raise DecodeError(f"a SIP message of {len(octets)} octets", MAX_OCTETS)
    begin = len(octets) - len(octets.lstrip(b"\r\n"))
    if begin == len(octets):
        raise DecodeError("only line ends: a keep-alive (RFC 5626), not a message")
    end = _HEADER_END.search(octets, begin)
    if end is None:
        raise DecodeError("no empty line ends the SIP header", len(octets))
    first = octets.index(b"\n", begin)
    start, line_end = _stripped(octets[begin : first + 1])
    start_line = start.decode("utf-8", "surrogateescape")
    if not _REQUEST_LINE.match(start_line) and not _STATUS_LINE.match(start_line):
        raise DecodeError("neither a SIP request line nor a status line", begin)
    headers = _headers(octets, first + 1, end.start() + 1)
    body = octets[end.end() :]
    length = _content_length(headers)
    if length is None or length > len(body):
        length = len(body)
    blank = octets[end.start() + 1 : end.end()]
    return Message(start_line, headers, body[:length], octets[:begin], line_end, blank, body[length:])


def _headers(octets: bytes, begin: int, end: int) -> tuple[HeaderLine, ...]:
    lines: list[HeaderLine] = []
    for match in _LINE.finditer(octets, begin, end):
        raw = match[0]
        field = _FIELD.match(raw)
        if field is None:
            raise DecodeError("a header line without a name", match.start())
        name = field[1].decode("ascii")
        text = raw[field.end() :].decode("utf-8", "surrogateescape").strip(" \t\r\n")
        if "\n" in text:
            text = _FOLD.sub(" ", text)
        lines.append(HeaderLine(name, canonical(name), text, raw))
        if len(lines) > MAX_HEADER_LINES:
            raise DecodeError(f"more than {MAX_HEADER_LINES} header lines", match.start())
    return tuple(lines)


def _content_length(headers: tuple[HeaderLine, ...]) -> int | None:
    for line in headers:
        if line.canonical == "Content-Length":
            return int(line.value) if _DIGITS.match(line.value) else None
    return None


def _stripped(line: bytes) -> tuple[bytes, bytes]:
    if line.endswith(b"\r\n"):
        return line[:-2], b"\r\n"
    return line[:-1], b"\n"
