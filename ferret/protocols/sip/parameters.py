"""Every field of a SIP message, flat, under a stable path.

Values of addresses are divided into URI, URI parameters and header parameters, so that what an NF allocates (a tag, a
branch, a Record-Route's parameters) is compared apart from what it must carry through. Secrets (the digest response,
CK and IK) appear as the first 8 hex digits of their SHA-256 only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from ferret.errors import DecodeError
from ferret.protocols.sip import digest, sdp
from ferret.protocols.sip.message import Message
from ferret.protocols.sip.reginfo import add_reginfo
from ferret.protocols.sip.syntax import (
    Param,
    parse_name_addr,
    parse_params,
    parse_via,
    split_semicolons,
    split_values,
    unquote,
)
from ferret.protocols.summary import Parameter

MAX_DOCUMENT = 1 << 16  # octets of a document that is taken apart
MAX_BODY_TEXT = 256  # characters of a body that is shown as it is

Add: TypeAlias = Callable[[str, "str | int | None"], None]

_SECRETS = frozenset({"response", "ck", "ik", "rspauth"})
_SETS = frozenset(
    {
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Allow",
        "Allow-Events",
        "Proxy-Require",
        "Require",
        "Supported",
        "Unsupported",
    }
)
_NUMBERS = frozenset({"Max-Forwards", "Content-Length", "Expires", "Min-Expires", "RSeq", "Min-SE"})


def parameters(message: Message) -> list[Parameter]:
    """All fields of a message: start line, header in order of the message, body."""
    found: list[Parameter] = []
    append = found.append

    def add(path: str, value: str | int | None) -> None:
        if isinstance(value, str) and not value.isascii():
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        append(Parameter(path, value))

    if message.is_request:
        add("Method", message.method)
        _uri(add, "Request-URI", "Request-URI", message.request_uri)
    else:
        add("Status-Code", message.status)
        add("Reason-Phrase", message.reason)
    fields: dict[str, list[str]] = {}
    for line in message.headers:
        fields.setdefault(line.canonical, []).extend(line.values)
    for name, values in fields.items():
        if name in _SETS:
            add(name, ", ".join(sorted({value for text in values for value in split_values(text) if value})))
        else:
            _FIELDS.get(name, _other)(add, name, values)
    if message.body:
        _body(add, message)
    return found if len({path for path, _ in found}) == len(found) else _unique(found)


def _unique(found: Iterable[Parameter]) -> list[Parameter]:
    """Paths are unique: what a sender wrote twice (a parameter, a line of SDP) is numbered from the second on."""
    seen: set[str] = set()
    result = []
    for path, value in found:
        unique, count = path, 0
        while unique in seen:
            count += 1
            unique = f"{path}[{count}]"
        seen.add(unique)
        result.append(Parameter(unique, value))
    return result


def _other(add: Add, name: str, values: Sequence[str]) -> None:
    if len(values) == 1:
        text = values[0]
        number = name in _NUMBERS and text.isascii() and text.isdigit() and len(text) < 19
        add(name, int(text) if number else text)
    else:
        for i, value in enumerate(values):
            add(f"{name}[{i}]", value)


def _uri(add: Add, uri_path: str, path: str, uri: str) -> None:
    """A URI in two parts: without its parameters, and each of them."""
    at = uri.rfind("@") + 1
    semicolon = uri.find(";", at)
    if semicolon < 0:
        add(uri_path, uri)
        return
    tail, question, headers = uri[semicolon + 1 :].partition("?")
    add(uri_path, uri[:semicolon] + question + headers)
    for name, value in parse_params(tuple(tail.split(";"))):
        add(f"{path}/uri-parameter/{name}", value)


def _params(add: Add, path: str, params: Iterable[Param]) -> None:
    for name, value in params:
        add(f"{path}/{name}", value if value is None else unquote(value))


def _address(add: Add, path: str, value: str) -> None:
    address = parse_name_addr(value)
    if address.display:
        add(f"{path}/display-name", address.display)
    _uri(add, f"{path}/uri", path, address.uri)
    _params(add, path, address.params)


def _one_address(add: Add, name: str, values: Sequence[str]) -> None:
    if len(values) == 1:
        _address(add, name, values[0])
    else:
        _addresses(add, name, values)


def _addresses(add: Add, name: str, values: Sequence[str]) -> None:
    for i, value in enumerate(values):
        _address(add, f"{name}[{i}]", value)


def _vias(add: Add, name: str, values: Sequence[str]) -> None:
    for i, value in enumerate(values):
        via = parse_via(value)
        add(f"Via[{i}]/transport", via.transport)
        add(f"Via[{i}]/host", via.host)
        if via.port:
            add(f"Via[{i}]/port", via.port)
        _params(add, f"Via[{i}]", via.params)


def _cseq(add: Add, name: str, values: Sequence[str]) -> None:
    parts = values[0].split()
    if len(values) == 1 and len(parts) == 2 and parts[0].isascii() and parts[0].isdigit() and len(parts[0]) < 19:
        add("CSeq/number", int(parts[0]))
        add("CSeq/method", parts[1])
    else:
        _other(add, name, values)


def _only_params(add: Add, name: str, values: Sequence[str]) -> None:
    """P-Charging-Vector, P-Charging-Function-Addresses: nothing but parameters."""
    for i, value in enumerate(values):
        path = name if len(values) == 1 else f"{name}[{i}]"
        _params(add, path, parse_params(split_semicolons(value)))


def _token_and_params(part: str) -> Callable[[Add, str, Sequence[str]], None]:
    """A token with parameters behind it, as a list."""

    def field(add: Add, name: str, values: Sequence[str]) -> None:
        for i, value in enumerate(values):
            parts = split_semicolons(value)
            add(f"{name}[{i}]/{part}", parts[0])
            _params(add, f"{name}[{i}]", parse_params(parts[1:]))

    return field


def _authentication(add: Add, name: str, values: Sequence[str]) -> None:
    for i, value in enumerate(values):
        path = f"{name}[{i}]"
        try:
            scheme, params = digest.parse(value)
        except DecodeError:
            add(path, _hash(value))
            continue
        add(f"{path}/scheme", scheme)
        for key, text in params.items():
            add(f"{path}/{key}", _hash(text) if key in _SECRETS and text else text)


def _hash(text: str | bytes) -> str:
    octets = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return "sha256:" + hashlib.sha256(octets).hexdigest()[:8]


_FIELDS: dict[str, Callable[[Add, str, Sequence[str]], None]] = {
    "Via": _vias,
    "From": _one_address,
    "To": _one_address,
    "CSeq": _cseq,
    "P-Charging-Vector": _only_params,
    "P-Charging-Function-Addresses": _only_params,
    "P-Access-Network-Info": _token_and_params("access-type"),
    "P-Visited-Network-ID": _token_and_params("vnetwork-spec"),
    "Security-Client": _token_and_params("mechanism"),
    "Security-Server": _token_and_params("mechanism"),
    "Security-Verify": _token_and_params("mechanism"),
    "Accept-Contact": _token_and_params("value"),
    "Reject-Contact": _token_and_params("value"),
    "Reason": _token_and_params("protocol"),
    "Authorization": _authentication,
    "Proxy-Authorization": _authentication,
    "WWW-Authenticate": _authentication,
    "Proxy-Authenticate": _authentication,
} | dict.fromkeys(
    (
        "Contact",
        "Diversion",
        "History-Info",
        "P-Asserted-Identity",
        "P-Associated-URI",
        "P-Called-Party-ID",
        "P-Preferred-Identity",
        "P-Served-User",
        "Path",
        "Record-Route",
        "Refer-To",
        "Referred-By",
        "Route",
        "Service-Route",
    ),
    _addresses,
)


def _body(add: Add, message: Message) -> None:
    kind = message.first("Content-Type").partition(";")[0].strip().lower()
    if kind == "application/sdp":
        try:
            _sdp(add, sdp.decode(message.body))
            return
        except DecodeError:
            kind = ""
    if kind == "application/reginfo+xml" and len(message.body) <= MAX_DOCUMENT:
        add_reginfo(add, message.body.decode("utf-8", "replace"))
        return
    text = message.body.decode("utf-8", "surrogateescape")
    plain = len(text) <= MAX_BODY_TEXT and text.replace("\r\n", "").replace("\n", "").isprintable()
    add("Body", text if plain else _hash(message.body))


def _sdp(add: Add, description: sdp.Sdp) -> None:
    names = ("username", "session-id", "version", "network-type", "address-type", "address")
    for line in description.session:
        if line.type == "o":
            for name, value in zip(names, line.value.split(), strict=False):
                add(f"SDP/o=/{name}", value)
        elif line.type in "vstiuepzkr" and line.type:
            add(f"SDP/{line.type}=", line.value)
    _sdp_common(add, "SDP", description.session)
    for i, media in enumerate(description.media):
        path = f"SDP/media[{i}]"
        add(f"{path}/type", media.type)
        add(f"{path}/port", media.port)
        add(f"{path}/proto", media.proto)
        add(f"{path}/formats", " ".join(media.formats))
        codecs = [f"{c.name or c.format} {c.fmtp}".strip() for c in media.codecs]
        add(f"{path}/codecs", " | ".join(codecs))
        _sdp_common(add, path, media.lines[1:])


def _sdp_common(add: Add, path: str, lines: Sequence[sdp.Line]) -> None:
    repeated: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.value.partition(":")
        if line.type == "c":
            add(f"{path}/connection", sdp.address_of(line))
        elif line.type == "b":
            add(f"{path}/bandwidth {name}", int(value) if value.isascii() and value.isdigit() else value)
        elif line.type == "a" and line.value in sdp.DIRECTIONS:
            add(f"{path}/direction", line.value)
        elif line.type == "a" and name in sdp.PRECONDITIONS:
            _precondition(add, path, name, value.split())
        elif line.type == "a" and name not in ("rtpmap", "fmtp"):
            repeated.setdefault(f"{path}/a={name}", []).append(value)
        elif line.type in ("i", "k") and path != "SDP":
            add(f"{path}/{line.type}=", line.value)
    for name, values in repeated.items():
        for i, value in enumerate(values):
            add(name if len(values) == 1 else f"{name}[{i}]", value or None)


def _precondition(add: Add, path: str, name: str, words: list[str]) -> None:
    """curr and conf: "qos local none"; des: "qos mandatory local sendrecv" (RFC 3312 clause 4)."""
    if name == "des" and len(words) == 4:
        add(f"{path}/a=des[{words[0]} {words[2]}]/strength", words[1])
        add(f"{path}/a=des[{words[0]} {words[2]}]/direction", words[3])
    else:
        add(f"{path}/a={name}[{' '.join(words[:2])}]", " ".join(words[2:]))
