"""Typed views of header fields, parsed strictly by sipmessage; None where the field is absent or it refuses.

The octets stay the truth: a view is for reading. sipmessage splits parameters inside quoted strings and knows no
`tel:` URI, so what it refuses is still there as text in `Message.values` and through `syntax`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sipmessage

from ferret.protocols.sip.message import Message

T = TypeVar("T")


def vias(message: Message) -> tuple[sipmessage.Via | None, ...]:
    """Every Via, topmost first (RFC 3261 clause 20.42)."""
    return tuple(_parsed(sipmessage.Via.parse, value) for value in message.values("Via"))


def top_via(message: Message) -> sipmessage.Via | None:
    """The topmost Via."""
    return _parsed(sipmessage.Via.parse, message.first("Via"))


def from_address(message: Message) -> sipmessage.Address | None:
    """From (clause 20.20)."""
    return _parsed(sipmessage.Address.parse, message.first("From"))


def to_address(message: Message) -> sipmessage.Address | None:
    """To (clause 20.39)."""
    return _parsed(sipmessage.Address.parse, message.first("To"))


def contacts(message: Message) -> tuple[sipmessage.Address | None, ...]:
    """Every Contact (clause 20.10)."""
    return addresses(message, "Contact")


def addresses(message: Message, name: str) -> tuple[sipmessage.Address | None, ...]:
    """Every value of a field of addresses: Contact, Route, Record-Route, Path, P-Asserted-Identity, …"""
    return tuple(_parsed(sipmessage.Address.parse, value) for value in message.values(name))


def cseq(message: Message) -> sipmessage.CSeq | None:
    """CSeq (clause 20.16)."""
    return _parsed(sipmessage.CSeq.parse, message.first("CSeq"))


def request_uri(message: Message) -> sipmessage.URI | None:
    """The Request-URI."""
    return _parsed(sipmessage.URI.parse, message.request_uri)


def content_type(message: Message) -> sipmessage.MediaType | None:
    """Content-Type (clause 20.15)."""
    return _parsed(sipmessage.MediaType.parse, message.first("Content-Type"))


def _parsed(parse: Callable[[str], T], value: str) -> T | None:
    if not value or len(value) > 8192:
        return None
    try:
        return parse(value)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError):
        return None
