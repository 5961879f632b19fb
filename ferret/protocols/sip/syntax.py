"""Splitting header field values at the separators of RFC 3261 clause 25.1, quotes and angle brackets respected.

This is the quick, forgiving reading that proxying, correlation and comparison use; `views` has the strict one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_COMMA_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|<[^>]*>|,|[^",<]+|["<]', re.DOTALL)
_SEMICOLON_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|<[^>]*>|;|[^";<]+|["<]', re.DOTALL)
_HOST_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(\d{1,5}))?\Z", re.ASCII)


class Param(NamedTuple):
    """A parameter behind a semicolon or comma. `value` is None where there is no equals sign."""

    name: str
    value: str | None


class NameAddr(NamedTuple):
    """A name-addr or addr-spec with its header parameters (RFC 3261 clause 20.10)."""

    display: str
    uri: str
    params: tuple[Param, ...]

    def param(self, name: str) -> str | None:
        """The value of a header parameter; "" where it has none, None where it is absent."""
        return _lookup(self.params, name)


class Uri(NamedTuple):
    """A SIP, SIPS or tel URI, cut up (RFC 3261 clause 19.1, RFC 3966)."""

    scheme: str
    user: str  # without password; a tel URI's number
    host: str  # lower case, brackets kept; "" in a tel URI
    port: int  # 0: none given
    params: tuple[Param, ...]

    def param(self, name: str) -> str | None:
        """The value of a URI parameter; "" where it has none, None where it is absent."""
        return _lookup(self.params, name)

    @property
    def identity(self) -> str:
        """The URI without parameters, password and headers: a public user identity."""
        if self.scheme == "tel":
            return f"tel:{self.user}"
        at = f"{self.user}@" if self.user else ""
        return f"{self.scheme}:{at}{self.host}" + (f":{self.port}" if self.port else "")


class ViaValue(NamedTuple):
    """One Via value (RFC 3261 clause 20.42)."""

    transport: str  # upper case
    host: str
    port: int  # 0: none given
    params: tuple[Param, ...]

    def param(self, name: str) -> str | None:
        """The value of a Via parameter; "" where it has none, None where it is absent."""
        return _lookup(self.params, name)

    @property
    def branch(self) -> str:
        """The branch parameter; "" where there is none."""
        return self.param("branch") or ""


def _lookup(params: tuple[Param, ...], name: str) -> str | None:
    wanted = name.lower()
    for param in params:
        if param.name.lower() == wanted:
            return param.value or ""
    return None


def split_values(text: str) -> tuple[str, ...]:
    """Cut at commas outside quotes and angle brackets."""
    return _split(text, _COMMA_TOKENS, ",")


def split_semicolons(text: str) -> tuple[str, ...]:
    """Cut at semicolons outside quotes and angle brackets."""
    if '"' not in text and "<" not in text:
        return tuple(part.strip() for part in text.split(";"))
    return _split(text, _SEMICOLON_TOKENS, ";")


def _split(text: str, tokens: re.Pattern[str], separator: str) -> tuple[str, ...]:
    parts: list[str] = []
    part: list[str] = []
    for token in tokens.findall(text):
        if token == separator:
            parts.append("".join(part).strip())
            part = []
        else:
            part.append(token)
    parts.append("".join(part).strip())
    return tuple(parts)


def unquote(text: str) -> str:
    """A quoted string without its quotes and backslashes; anything else as it is."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        inner = text[1:-1]
        return re.sub(r"\\(.)", r"\1", inner) if "\\" in inner else inner
    return text


def parse_params(parts: tuple[str, ...]) -> tuple[Param, ...]:
    """Parameters out of "name=value" parts; empty parts are left out."""
    params = []
    for part in parts:
        name, equals, value = part.partition("=")
        if name.strip():
            params.append(Param(name.strip(), value.strip() if equals else None))
    return tuple(params)


def parse_name_addr(value: str) -> NameAddr:
    """Read a From, To, Contact, Route, … value. Without angle brackets, parameters are the header's."""
    open_at = _angle(value)
    close_at = value.find(">", open_at) if open_at >= 0 else -1
    if close_at < 0:
        parts = split_semicolons(value)
        return NameAddr("", parts[0], parse_params(parts[1:]))
    display = unquote(value[:open_at].strip())
    rest = value[close_at + 1 :]
    params = parse_params(split_semicolons(rest)) if rest.strip() else ()
    return NameAddr(display, value[open_at + 1 : close_at].strip(), params)


def _angle(value: str) -> int:
    """Where the first angle bracket outside quotes opens; -1: nowhere."""
    if '"' not in value:
        return value.find("<")
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|<', value):
        if match[0] == "<":
            return match.start()
    return -1


def parse_uri(text: str) -> Uri:
    """Cut up a URI; what does not fit comes back with an empty host."""
    scheme, colon, rest = text.partition(":")
    scheme = scheme.strip().lower()
    if not colon:
        return Uri("", "", text.strip().lower(), 0, ())
    if scheme == "tel":
        number, *parts = rest.split(";")
        return Uri(scheme, number, "", 0, parse_params(tuple(parts)))
    if scheme not in ("sip", "sips"):
        return Uri(scheme, rest, "", 0, ())
    user, at, tail = rest.rpartition("@")
    host_part, *parts = tail.partition("?")[0].split(";")
    host, port = parse_host_port(host_part)
    return Uri(scheme, user.partition(":")[0] if at else "", host, port, parse_params(tuple(parts)))


def parse_host_port(text: str) -> tuple[str, int]:
    """Host (lower case, brackets kept) and port (0: none, or not one)."""
    match = _HOST_PORT.match(text.strip())
    if match is None:
        return text.strip().lower(), 0
    port = int(match[2]) if match[2] else 0
    return match[1].strip().lower(), port if port <= 65535 else 0


def parse_via(value: str) -> ViaValue:
    """Cut up one Via value; what does not fit comes back with empty parts."""
    parts = split_semicolons(value)
    protocol, _, sent_by = parts[0].rpartition(" ")
    if "\t" in sent_by or not protocol:
        words = parts[0].split()
        protocol, sent_by = " ".join(words[:-1]), words[-1] if words else ""
    host, port = parse_host_port(sent_by)
    transport = protocol.rpartition("/")[2].strip().upper()
    return ViaValue(transport, host, port, parse_params(parts[1:]))


def format_params(params: tuple[Param, ...]) -> str:
    """Parameters as they stand behind a value, each with its semicolon."""
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params)
