"""What an HSS knows of a subscriber: keys, EPS subscription (TS 29.272), IMS subscription (TS 29.228)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ferret.errors import ConfigError
from ferret.protocols.nas.milenage import Milenage, derive_opc
from ferret_core.nf import Peer

_SQN_BITS = 48


@dataclass(frozen=True, slots=True)
class BitRate:
    """A maximum bit rate in bit/s, uplink and downlink."""

    ul: int
    dl: int


@dataclass(frozen=True, slots=True)
class ApnConfiguration:
    """One APN of a subscription. ARP: 0 is enabled and 1 disabled, as the AVPs have it."""

    apn: str
    pdn_type: int = 0  # PDN-Type (TS 29.272 clause 7.3.62): 0 IPv4, 1 IPv6, 2 both
    qci: int = 9
    priority_level: int = 8
    pre_emption_capability: int = 1
    pre_emption_vulnerability: int = 1
    ambr: BitRate = BitRate(1_000_000_000, 1_000_000_000)
    address: str = ""  # a fixed address of the UE


class ImsState(StrEnum):
    """The registration state of an IMS subscription (TS 29.228 clause 6.1)."""

    NOT_REGISTERED = "not registered"
    PENDING = "authentication pending"
    UNREGISTERED = "unregistered"
    REGISTERED = "registered"


@dataclass(slots=True)
class Subscriber:
    """One subscriber and where he is. Holds keys: never log it."""

    imsi: str
    msisdn: str
    milenage: Milenage = field(repr=False)
    amf: bytes = field(repr=False)
    sqn: int  # the last one used
    ambr: BitRate
    apns: tuple[ApnConfiguration, ...]
    impi: str
    impus: tuple[str, ...]  # the first is the one that registers; those without a barred one follow
    access_restriction: int
    network_access_mode: int
    periodic_tau_seconds: int
    mme: tuple[Peer, str, str] | None = None  # where he is: peer, Origin-Host, Origin-Realm
    purged: bool = False
    ims_state: ImsState = ImsState.NOT_REGISTERED
    scscf: str = ""  # Server-Name


_DEFAULTS: Mapping[str, Any] = {
    "msisdn": "",
    "amf": "8000",
    "sqn": 0,
    "ambr": {"ul": 1_000_000_000, "dl": 1_000_000_000},
    "impi": "",
    "impus": (),
    "op": "",
    "opc": "",
    "access_restriction": 32,  # only E-UTRAN with handover to non-3GPP not allowed (TS 29.272 clause 7.3.31)
    "network_access_mode": 0,
    "periodic_tau_seconds": 720,
}
_NEEDED = frozenset(("imsi", "k", "apns"))


def read_subscriber(given: Mapping[str, Any], ims_domain: str) -> Subscriber:
    """A subscriber from context (`Hss` gives the keys). Raises ConfigError."""
    unknown, missing = set(given) - _NEEDED - set(_DEFAULTS), _NEEDED - set(given)
    if unknown or missing:
        raise ConfigError(f"HSS subscriber: unknown {sorted(unknown)}, missing {sorted(missing)}")
    values = {**_DEFAULTS, **given}
    try:
        return _subscriber(values, ims_domain)
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"HSS subscriber {values['imsi']}: {error}") from error


def _subscriber(values: Mapping[str, Any], ims_domain: str) -> Subscriber:
    key, amf = _octets(values, "k", 16), _octets(values, "amf", 2)
    opc = _octets(values, "opc", 16) if values["opc"] else derive_opc(key, _octets(values, "op", 16))
    imsi = str(values["imsi"])
    if not imsi.isdecimal() or not 6 <= len(imsi) <= 15:
        raise ValueError("an IMSI has 6 to 15 digits")
    if not 0 <= int(values["sqn"]) < 1 << _SQN_BITS:
        raise ValueError("SQN has 48 bits")
    return Subscriber(
        imsi=imsi,
        msisdn=str(values["msisdn"]),
        milenage=Milenage(key, opc),
        amf=amf,
        sqn=int(values["sqn"]),
        ambr=BitRate(**values["ambr"]),
        apns=tuple(_apn(one) for one in values["apns"]),
        impi=values["impi"] or f"{imsi}@{ims_domain}",
        impus=tuple(values["impus"]) or _default_impus(imsi, str(values["msisdn"]), ims_domain),
        access_restriction=int(values["access_restriction"]),
        network_access_mode=int(values["network_access_mode"]),
        periodic_tau_seconds=int(values["periodic_tau_seconds"]),
    )


def _octets(values: Mapping[str, Any], name: str, length: int) -> bytes:
    octets = bytes.fromhex(values[name])
    if len(octets) != length:
        raise ValueError(f"{name} has {length} octets")
    return octets


def _apn(given: Mapping[str, Any]) -> ApnConfiguration:
    values = dict(given)
    if "ambr" in values:
        values["ambr"] = BitRate(**values["ambr"])
    return ApnConfiguration(**values)


def _default_impus(imsi: str, msisdn: str, domain: str) -> tuple[str, ...]:
    """The temporary public identity that the IMSI makes (TS 23.003 clause 13.4B), and those of the number."""
    of_number = (f"sip:{msisdn}@{domain}", f"tel:{msisdn}") if msisdn else ()
    return (f"sip:{imsi}@{domain}", *of_number)


class Register:
    """All subscribers, by any of their identities."""

    def __init__(self, subscribers: Sequence[Subscriber] = ()) -> None:
        self.all: list[Subscriber] = []
        self._by_identity: dict[str, Subscriber] = {}
        for one in subscribers:
            self.add(one)

    def add(self, subscriber: Subscriber) -> None:
        """Add or replace a subscriber."""
        self.all = [one for one in self.all if one.imsi != subscriber.imsi] + [subscriber]
        for identity in (subscriber.imsi, subscriber.impi, *subscriber.impus):
            self._by_identity[identity] = subscriber

    def find(self, identity: str | None) -> Subscriber | None:
        """By IMSI, IMPI or IMPU (parameters of a URI do not count)."""
        return self._by_identity.get((identity or "").partition(";")[0])
