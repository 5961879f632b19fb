"""Who owns which identifier at this moment of a capture.

Permanent identities (IMSI, MSISDN, public and private user identities) say that two things are one subscriber.
Everything else is *lent*: a TEID, an S1AP ID, an address goes to another subscriber when the first is done with it. So
an allocation always overrides what the identifier meant before, and never makes one of two subscribers.
A subscriber whose IMSI is not known yet is *anonymous*; when more is learned it is merged into the one it turns out to
be. Two subscribers with different IMSIs are never merged, whatever an identifier claims.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from ipaddress import ip_address

from ferret.protocols import sip
from ferret.protocols.summary import Identifier, IdKind

_DIGITS = re.compile(r"\d{5,15}", re.ASCII)
PERMANENT = (IdKind.IMSI, IdKind.MSISDN, IdKind.IMPI, IdKind.IMPU)


class Subscriber:
    """A subscriber as far as it is known. After a merge `root` leads to the one that stands for both."""

    __slots__ = ("_parent", "addresses", "imsi", "msisdns", "number", "others")

    def __init__(self, number: int) -> None:
        self.number = number  # in order of appearance, from 1
        self.imsi = ""
        self.msisdns: list[str] = []
        self.addresses: list[str] = []  # of the device, in order of appearance
        self.others: list[str] = []  # public identities that are neither number nor IMSI
        self._parent: Subscriber | None = None

    @property
    def root(self) -> Subscriber:
        """The subscriber that this one has turned out to be."""
        one = self
        while one._parent is not None:
            one = one._parent
        return one

    @property
    def key(self) -> str:
        """The subscriber's name everywhere: the IMSI, else "msisdn:…", "ip:…", a public identity, "unknown-3"."""
        one = self.root
        if one.imsi:
            return one.imsi
        if one.msisdns:
            return f"msisdn:{one.msisdns[0]}"
        if one.addresses:
            return f"ip:{one.addresses[0]}"
        return one.others[0] if one.others else f"unknown-{one.number}"

    def absorb(self, other: Subscriber) -> None:
        """The other one is this one."""
        self.imsi = self.imsi or other.imsi
        for mine, its in (
            (self.msisdns, other.msisdns),
            (self.addresses, other.addresses),
            (self.others, other.others),
        ):
            mine.extend(value for value in its if value not in mine)
        self.number = min(self.number, other.number)
        other._parent = self


class Registry:
    """Every subscriber, and who owns which identifier now."""

    def __init__(self) -> None:
        self._owners: dict[Hashable, Subscriber] = {}
        self._count = 0

    def new(self) -> Subscriber:
        """An anonymous subscriber."""
        self._count += 1
        return Subscriber(self._count)

    def owner(self, key: Hashable) -> Subscriber | None:
        """Who owns an identifier now."""
        found = self._owners.get(key)
        return None if found is None else found.root

    def lend(self, key: Hashable, subscriber: Subscriber) -> None:
        """The identifier is this subscriber's from now on, whosever it was."""
        self._owners[key] = subscriber.root

    def release(self, key: Hashable) -> None:
        """The identifier is nobody's."""
        self._owners.pop(key, None)

    def merge(self, one: Subscriber, other: Subscriber) -> Subscriber:
        """Both are the same subscriber, unless both have an IMSI: then the first is returned and nothing changes."""
        one, other = one.root, other.root
        if one is other or (one.imsi and other.imsi):
            return one
        if other.imsi:
            one, other = other, one
        one.absorb(other)
        return one

    def identified(self, keys: Iterable[tuple[str, str]], known: Subscriber | None = None) -> Subscriber | None:
        """The one subscriber of these permanent identities (see `permanent`), made if there is none yet.

        `known` is who it must be, or be merged with. None where there are no identities and nobody is known.
        """
        keys = sorted(set(keys), key=lambda key: (key[0] != "imsi", key))
        subscriber = None if known is None else known.root
        for key in keys:
            owner = self.owner(key)
            if owner is not None:
                subscriber = owner if subscriber is None else self.merge(subscriber, owner)
        if subscriber is None and keys:
            subscriber = self.new()
        for kind, value in keys:
            if subscriber is not None:
                subscriber = self._learn(subscriber, kind, value)
        return subscriber

    def _learn(self, subscriber: Subscriber, kind: str, value: str) -> Subscriber:
        owner = self.owner((kind, value))
        if owner is not None and owner is not subscriber and owner.imsi:
            return subscriber  # another subscriber's, with an IMSI of its own
        if kind == "imsi":
            if subscriber.imsi and subscriber.imsi != value:
                return subscriber
            subscriber.imsi = value
        else:
            kept = subscriber.msisdns if kind == "msisdn" else subscriber.others
            if value not in kept:
                kept.append(value)
        self._owners[kind, value] = subscriber
        return subscriber

    def lend_address(self, address: str, subscriber: Subscriber) -> None:
        """The device has this address from now on."""
        subscriber = subscriber.root
        if address not in subscriber.addresses:
            subscriber.addresses.append(address)
        self._owners["ue_ip", address] = subscriber

    def reach(self, address: str) -> Subscriber:
        """Who has this device address; an anonymous subscriber is made for one that nobody has."""
        owner = self.owner(("ue_ip", address))
        if owner is None:
            owner = self.new()
            self.lend_address(address, owner)
        return owner


def permanent(identifiers: Iterable[Identifier]) -> list[tuple[str, str]]:
    """The permanent identities among a message's identifiers, in the form that `Registry` compares."""
    found: list[tuple[str, str]] = []
    for kind, value in identifiers:
        if kind is IdKind.IMSI:
            found.append(("imsi", value))
        elif kind is IdKind.MSISDN:
            digits = _DIGITS.search(value)
            found += [("msisdn", digits[0])] if digits else []
        elif kind is IdKind.IMPI:
            found += private(value)
        elif kind is IdKind.IMPU:
            found += public(value)
    return found


def public(identity: str) -> list[tuple[str, str]]:
    """What a public user identity says: an IMSI, a number, or itself. Nothing for an address of a device or an NF."""
    uri = sip.parse_uri(identity)
    if not uri.user:
        return []
    imsi = sip.imsi_of(uri.user, uri.host)
    if imsi:
        return [("imsi", imsi)]
    if _is_address(uri.host):
        return []  # a user at a device: whose number or name that is, the address says
    digits = _DIGITS.fullmatch(re.sub(r"[-.()+]", "", uri.user.partition(";")[0]))
    return [("msisdn", digits[0])] if digits else [("other", uri.identity)]


def private(identity: str) -> list[tuple[str, str]]:
    """What a private user identity says: the IMSI that it was made from (TS 23.003 clause 13.3), or itself."""
    user, _, host = identity.partition("@")
    imsi = sip.imsi_of(user, host.lower())
    return [("imsi", imsi)] if imsi else [("other", identity)]


def device_address(identity: str) -> str:
    """The device's address in a URI like "sip:user@10.46.0.3:5060"; "" where the host is a name."""
    uri = sip.parse_uri(identity)
    host = uri.host.strip("[]")
    return ip_address(host).compressed if uri.user and _is_address(host) else ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
