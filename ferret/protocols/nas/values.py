"""Typed values of NAS information elements (TS 24.301 clause 9.9)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import NamedTuple

from ferret.errors import DecodeError
from ferret.protocols.nas.identities import Tai, plmn_digits, plmn_octets
from ferret.protocols.nas.rates import (
    CodedRate,
    decode_ambr_rate,
    decode_qos_rate,
    encode_ambr_rate,
    encode_qos_rate,
)


class EmmCause(IntEnum):
    """EMM cause (clause 9.9.3.9)."""

    IMSI_UNKNOWN_IN_HSS = 2
    ILLEGAL_UE = 3
    IMEI_NOT_ACCEPTED = 5
    ILLEGAL_ME = 6
    EPS_SERVICES_NOT_ALLOWED = 7
    EPS_AND_NON_EPS_SERVICES_NOT_ALLOWED = 8
    UE_IDENTITY_CANNOT_BE_DERIVED = 9
    IMPLICITLY_DETACHED = 10
    PLMN_NOT_ALLOWED = 11
    TRACKING_AREA_NOT_ALLOWED = 12
    ROAMING_NOT_ALLOWED_IN_TRACKING_AREA = 13
    NO_SUITABLE_CELLS_IN_TRACKING_AREA = 15
    NETWORK_FAILURE = 17
    CS_DOMAIN_NOT_AVAILABLE = 18
    ESM_FAILURE = 19
    MAC_FAILURE = 20
    SYNCH_FAILURE = 21
    UE_SECURITY_CAPABILITIES_MISMATCH = 23
    SECURITY_MODE_REJECTED = 24
    NON_EPS_AUTHENTICATION_UNACCEPTABLE = 26
    NO_EPS_BEARER_CONTEXT_ACTIVATED = 40
    SEMANTICALLY_INCORRECT_MESSAGE = 95
    INVALID_MANDATORY_INFORMATION = 96
    MESSAGE_TYPE_NON_EXISTENT = 97
    MESSAGE_TYPE_NOT_COMPATIBLE = 98
    PROTOCOL_ERROR_UNSPECIFIED = 111


class EsmCause(IntEnum):
    """ESM cause (clause 9.9.4.4)."""

    INSUFFICIENT_RESOURCES = 26
    UNKNOWN_OR_MISSING_APN = 27
    UNKNOWN_PDN_TYPE = 28
    USER_AUTHENTICATION_FAILED = 29
    REQUEST_REJECTED_BY_GATEWAY = 30
    REQUEST_REJECTED_UNSPECIFIED = 31
    SERVICE_OPTION_NOT_SUPPORTED = 32
    REGULAR_DEACTIVATION = 36
    EPS_QOS_NOT_ACCEPTED = 37
    NETWORK_FAILURE = 38
    REACTIVATION_REQUESTED = 39
    SEMANTIC_ERROR_IN_TFT = 41
    SYNTACTICAL_ERROR_IN_TFT = 42
    INVALID_EPS_BEARER_IDENTITY = 43
    SEMANTIC_ERRORS_IN_PACKET_FILTERS = 44
    SYNTACTICAL_ERRORS_IN_PACKET_FILTERS = 45
    LAST_PDN_DISCONNECTION_NOT_ALLOWED = 49
    PDN_TYPE_IPV4_ONLY_ALLOWED = 50
    PDN_TYPE_IPV6_ONLY_ALLOWED = 51
    SINGLE_ADDRESS_BEARERS_ONLY_ALLOWED = 52
    PDN_CONNECTION_DOES_NOT_EXIST = 54
    MESSAGE_TYPE_NOT_COMPATIBLE = 98
    PROTOCOL_ERROR_UNSPECIFIED = 111


class IdentityType(IntEnum):
    """Type of identity (clause 9.9.3.12, TS 24.008 clause 10.5.1.4); GUTI has the number of EPS mobile identity."""

    IMSI = 1
    IMEI = 2
    IMEISV = 3
    TMSI = 4
    GUTI = 6


class Guti(NamedTuple):
    """Globally Unique Temporary Identity (TS 23.003 clause 2.8)."""

    plmn: str  # MCC and MNC digits
    group_id: int
    mme_code: int
    m_tmsi: int

    def encode(self) -> bytes:
        """The EPS mobile identity, 11 octets."""
        head = b"\xf6" + plmn_octets(self.plmn) + self.group_id.to_bytes(2, "big")
        return head + bytes((self.mme_code,)) + self.m_tmsi.to_bytes(4, "big")


_IDENTITY_TYPES: dict[int, int] = {int(kind): kind for kind in IdentityType}


class MobileIdentity(NamedTuple):
    """EPS mobile identity (clause 9.9.3.12) or mobile identity (TS 24.008 clause 10.5.1.4)."""

    type: int  # an IdentityType, where it is one of them
    digits: str = ""  # of IMSI, IMEI, IMEISV
    guti: Guti | None = None
    tmsi: int | None = None

    @classmethod
    def decode(cls, octets: bytes) -> MobileIdentity:
        """Raises DecodeError."""
        if not octets:
            raise DecodeError("mobile identity is empty", 0)
        kind = _IDENTITY_TYPES.get(octets[0] & 7, octets[0] & 7)
        if kind == IdentityType.GUTI:
            if len(octets) != 11:
                raise DecodeError("a GUTI has 11 octets", len(octets))
            group, tmsi = int.from_bytes(octets[4:6], "big"), int.from_bytes(octets[7:11], "big")
            return cls(kind, guti=Guti(plmn_digits(octets[1:4]), group, octets[6], tmsi))
        if kind == IdentityType.TMSI and len(octets) == 5:
            return cls(kind, tmsi=int.from_bytes(octets[1:5], "big"))
        return cls(kind, _bcd(octets))

    def encode(self) -> bytes:
        """The octets, without length."""
        if self.guti is not None:
            return self.guti.encode()
        if self.tmsi is not None:
            return b"\xf4" + self.tmsi.to_bytes(4, "big")
        odd = len(self.digits) & 1
        digits = self.digits if odd else self.digits + "f"
        head = int(digits[0], 16) << 4 | odd << 3 | self.type
        pairs = zip(digits[1::2], digits[2::2], strict=True)
        return bytes((head,)) + bytes(int(high + low, 16) for low, high in pairs)


def _bcd(octets: bytes) -> str:
    digits = f"{octets[0] >> 4:x}" + "".join(f"{octet & 15:x}{octet >> 4:x}" for octet in octets[1:])
    return digits if octets[0] & 8 else digits[:-1]


@dataclass(frozen=True, slots=True)
class EpsQos:
    """EPS quality of service (clause 9.9.4.3). Rates in kbit/s; None: not there."""

    qci: int
    mbr_uplink: int | None = None
    mbr_downlink: int | None = None
    gbr_uplink: int | None = None
    gbr_downlink: int | None = None

    @classmethod
    def decode(cls, octets: bytes) -> EpsQos:
        """Raises DecodeError."""
        if not octets:
            raise DecodeError("EPS QoS is empty", 0)
        if len(octets) < 5:
            return cls(octets[0])
        groups = [octets[start : start + 4].ljust(4, b"\0") for start in (1, 5, 9)]
        rates = [decode_qos_rate(CodedRate(*codes)) for codes in zip(*groups, strict=True)]
        return cls(octets[0], *rates)

    def encode(self) -> bytes:
        """The octets, without length: as short as the rates allow."""
        rates = (self.mbr_uplink, self.mbr_downlink, self.gbr_uplink, self.gbr_downlink)
        if all(rate is None for rate in rates):
            return bytes((self.qci,))
        # code 0 says nothing in this direction: that is how a rate that is not set goes
        coded = [encode_qos_rate(rate) if rate else CodedRate(0) for rate in rates]
        needed = max(code.octets_needed for code in coded)
        return bytes((self.qci,)) + b"".join(bytes(code[index] for code in coded) for index in range(needed))


class ApnAmbr(NamedTuple):
    """APN aggregate maximum bit rate (clause 9.9.4.2), kbit/s."""

    downlink: int
    uplink: int

    @classmethod
    def decode(cls, octets: bytes) -> ApnAmbr:
        """Raises DecodeError."""
        if len(octets) < 2:
            raise DecodeError("APN-AMBR is cut", len(octets))
        padded = octets[:6].ljust(6, b"\0")
        return cls(*(decode_ambr_rate(CodedRate(*padded[first::2])) for first in (0, 1)))

    def encode(self, *, exact: bool = True) -> bytes:
        """The octets, without length. See `rates.encode_ambr_rate` for `exact`."""
        coded = [encode_ambr_rate(rate, exact=exact) for rate in self]
        needed = max(code.octets_needed for code in coded)
        return b"".join(bytes(code[index] for code in coded) for index in range(needed))


class PdnAddress(NamedTuple):
    """PDN address (clause 9.9.4.9). `type`: 1 IPv4, 2 IPv6, 3 both. `interface_identifier`: 8 octets of IPv6."""

    type: int
    ipv4: str = ""
    interface_identifier: bytes = b""

    @classmethod
    def decode(cls, octets: bytes) -> PdnAddress:
        """Raises DecodeError."""
        kind = octets[0] & 7 if octets else 0
        if kind == 1 and len(octets) >= 5:
            return cls(kind, str(IPv4Address(octets[1:5])))
        if kind == 2 and len(octets) >= 9:
            return cls(kind, "", octets[1:9])
        if kind == 3 and len(octets) >= 13:
            return cls(kind, str(IPv4Address(octets[9:13])), octets[1:9])
        raise DecodeError("PDN address of no known type", 0)

    def encode(self) -> bytes:
        """The octets, without length."""
        ipv4 = IPv4Address(self.ipv4).packed if self.ipv4 else b""
        return bytes((self.type,)) + self.interface_identifier + ipv4


def decode_apn(octets: bytes) -> str:
    """An access point name in text, its labels joined by dots (TS 23.003 clause 9.1)."""
    labels, offset = [], 0
    while offset < len(octets):
        end = offset + 1 + octets[offset]
        if end > len(octets):
            raise DecodeError("APN label is cut", offset)
        labels.append(octets[offset + 1 : end].decode("ascii", "replace"))
        offset = end
    return ".".join(labels)


def encode_apn(apn: str) -> bytes:
    """The inverse of `decode_apn`."""
    labels = apn.encode("ascii", "replace").split(b".") if apn else []
    return b"".join(bytes((len(label),)) + label for label in labels)


def decode_tai_list(octets: bytes) -> tuple[Tai, ...]:
    """A tracking area identity list (clause 9.9.3.33), in order."""
    tais: list[Tai] = []
    offset = 0
    while offset < len(octets):
        kind, count = octets[offset] >> 5 & 3, (octets[offset] & 31) + 1
        size = {0: 3 + 2 * count, 1: 5, 2: 5 * count}.get(kind)
        if size is None or offset + 1 + size > len(octets):
            raise DecodeError("partial TAI list is cut or of no known type", offset)
        tais += _partial_tai_list(kind, count, octets[offset + 1 : offset + 1 + size])
        offset += 1 + size
    return tuple(tais)


def _partial_tai_list(kind: int, count: int, octets: bytes) -> list[Tai]:
    if kind == 2:
        parts = [octets[start : start + 5] for start in range(0, 5 * count, 5)]
        return [Tai(plmn_digits(part[:3]), int.from_bytes(part[3:], "big")) for part in parts]
    plmn, first = plmn_digits(octets[:3]), int.from_bytes(octets[3:5], "big")
    if kind == 1:
        return [Tai(plmn, first + step) for step in range(count)]
    tacs = [octets[start : start + 2] for start in range(3, 3 + 2 * count, 2)]
    return [Tai(plmn, int.from_bytes(tac, "big")) for tac in tacs]


class UeNetworkCapability(NamedTuple):
    """UE network capability (clause 9.9.3.34): the bit maps of EPS and UMTS algorithms, bit 8 for number 0."""

    eea: int
    eia: int
    uea: int | None = None
    uia: int | None = None  # 7 bits: bit 8 says UCS2 support

    @classmethod
    def decode(cls, octets: bytes) -> UeNetworkCapability:
        """Raises DecodeError."""
        if len(octets) < 2:
            raise DecodeError("UE network capability is cut", len(octets))
        umts = (octets[2], octets[3] & 0x7F) if len(octets) >= 4 else (None, None)
        return cls(octets[0], octets[1], *umts)

    def supports(self, *, eia: int | None = None, eea: int | None = None) -> bool:
        """Whether the UE has these algorithms."""
        has_eia = eia is None or bool(self.eia >> (7 - eia) & 1)
        return has_eia and (eea is None or bool(self.eea >> (7 - eea) & 1))

    def security_capability(self, gea: int = 0) -> bytes:
        """UE security capability (clause 9.9.3.36). `gea`: GEA1 in bit 7, GEA2 to GEA7 in bits 6 to 1; 0: none."""
        out = bytes((self.eea, self.eia))
        if self.uea or self.uia or gea:
            out += bytes((self.uea or 0, self.uia or 0))
        return out + bytes((gea,)) if gea else out


def gea_of(ms_network_capability: bytes) -> int:
    """The GEA bit map of an MS network capability (TS 24.008 clause 10.5.5.12), as `security_capability` wants it."""
    if not ms_network_capability:
        return 0
    gea1 = ms_network_capability[0] >> 7
    extended = ms_network_capability[1] >> 1 & 0x3F if len(ms_network_capability) > 1 else 0
    return gea1 << 6 | extended


def gprs_timer(code: int) -> int | None:
    """Seconds of a GPRS timer octet (TS 24.008 clause 10.5.7.3); None: deactivated."""
    unit = {0: 2, 1: 60, 2: 360}.get(code >> 5, 60)
    return None if code >> 5 == 7 else (code & 31) * unit


def encode_gprs_timer(seconds: int | None) -> int:
    """The inverse of `gprs_timer`, rounding up to what can be said."""
    if seconds is None:
        return 0xE0
    for code, unit in ((0, 2), (1, 60), (2, 360)):
        if seconds <= 31 * unit and seconds % unit == 0:
            return code << 5 | seconds // unit
    return 2 << 5 | min(-(-seconds // 360), 31)
