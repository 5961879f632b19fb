"""The hot path: what a SIP message is, by a few regular expressions over its header."""

from __future__ import annotations

import re

from ferret.protocols.summary import Kind, Peek

_START = re.compile(
    rb"[\r\n]*(?:SIP/\d\.\d[ \t]+(\d{3})[ \t\r\n]|([A-Za-z0-9\-.!%*_+`'~]{1,80})[ \t]++[^\r\n]+[ \t]SIP/\d\.\d)"
)
_HEADER_END = re.compile(rb"\n\r?\n")
_FIELDS = re.compile(rb"\n(call-id|i|cseq|content-length|l)[ \t]*:[ \t\r\n]*([^\r\n]*)", re.IGNORECASE)


def peek(octets: bytes) -> Peek | None:
    """See of what type a message is; None where it is no SIP at all. Never raises."""
    start = _START.match(octets)
    if start is None:
        return None
    end = _HEADER_END.search(octets, start.end() - 1)
    stop = end.end() if end else len(octets)
    fields = {name.lower(): value for name, value in _FIELDS.findall(octets, start.end() - 1, stop)}
    call_id = fields.get(b"call-id", fields.get(b"i", b"")).strip()
    cseq = b" ".join(fields.get(b"cseq", b"").split())
    correlation = f"{call_id.decode('latin-1')} {cseq.decode('latin-1')}" if call_id else ""
    status, method = start[1], start[2]
    kind = Kind.RESPONSE if status else Kind.INDICATION if method == b"ACK" else Kind.REQUEST
    length = _length(octets, stop, fields.get(b"content-length", fields.get(b"l", b"")).strip())
    return Peek(kind, (status or method).decode("ascii"), correlation, length)


def _length(octets: bytes, header: int, text: bytes) -> int:
    """Up to the end of the body, but only if another message begins there: else the datagram is one message."""
    if text.isdigit() and len(text) < 9:
        end = header + int(text)
        if end < len(octets) and _START.match(octets, end):
            return end
    return len(octets)
