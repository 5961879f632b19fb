"""Typed readings of IE values that are one number or one string of digits. Clauses are those of TS 29.274."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from ferret.errors import DecodeError
from ferret.protocols.gtpv2.codec import View
from ferret.protocols.gtpv2.constants import IeType
from ferret.protocols.gtpv2.plmn import decode_tbcd, encode_tbcd


def need(value: bytes, length: int, what: str) -> bytes:
    """The value, if it has at least this many octets. Raises DecodeError."""
    if len(value) < length:
        raise DecodeError(f"{what} needs {length} octets, {len(value)} are there", len(value))
    return value


@dataclass(frozen=True, slots=True)
class Digits(View):
    """A TBCD string."""

    digits: str

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        return cls(decode_tbcd(value))

    def encode(self) -> bytes:
        """The octets. Raises ValueError where a character is no TBCD digit."""
        return encode_tbcd(self.digits)


@dataclass(frozen=True, slots=True)
class Imsi(Digits):
    """IMSI (clause 8.3)."""

    ie_type: ClassVar[int] = IeType.IMSI


@dataclass(frozen=True, slots=True)
class Mei(Digits):
    """Mobile Equipment Identity, an IMEI or IMEISV (clause 8.10)."""

    ie_type: ClassVar[int] = IeType.MEI


@dataclass(frozen=True, slots=True)
class Msisdn(Digits):
    """MSISDN with its country code, without plus sign (clause 8.11)."""

    ie_type: ClassVar[int] = IeType.MSISDN


@dataclass(frozen=True, slots=True)
class Number(View):
    """An unsigned number of `size` octets."""

    value: int
    size: ClassVar[int] = 1
    mask: ClassVar[int] = 0xFFFFFFFF

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read a value. Raises DecodeError."""
        return cls(int.from_bytes(need(value, cls.size, cls.__name__)[: cls.size], "big") & cls.mask)

    def encode(self) -> bytes:
        """The octets. Raises OverflowError where the number does not fit."""
        return self.value.to_bytes(self.size, "big")


@dataclass(frozen=True, slots=True)
class Recovery(Number):
    """Recovery: the sender's restart counter (clause 8.5)."""

    ie_type: ClassVar[int] = IeType.RECOVERY


@dataclass(frozen=True, slots=True)
class Ebi(Number):
    """EPS Bearer ID (clause 8.8)."""

    ie_type: ClassVar[int] = IeType.EBI
    mask: ClassVar[int] = 15


@dataclass(frozen=True, slots=True)
class RatTypeIe(Number):
    """RAT Type (clause 8.17), a constants.RatType."""

    ie_type: ClassVar[int] = IeType.RAT_TYPE


@dataclass(frozen=True, slots=True)
class PdnTypeIe(Number):
    """PDN Type (clause 8.34), a constants.PdnType."""

    ie_type: ClassVar[int] = IeType.PDN_TYPE
    mask: ClassVar[int] = 7


@dataclass(frozen=True, slots=True)
class Pti(Number):
    """Procedure Transaction ID (clause 8.35)."""

    ie_type: ClassVar[int] = IeType.PTI


@dataclass(frozen=True, slots=True)
class ChargingId(Number):
    """Charging ID (clause 8.29)."""

    ie_type: ClassVar[int] = IeType.CHARGING_ID
    size: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class ChargingCharacteristics(Number):
    """Charging Characteristics (clause 8.30): two octets as one number."""

    ie_type: ClassVar[int] = IeType.CHARGING_CHARACTERISTICS
    size: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class ApnRestriction(Number):
    """APN Restriction (clause 8.57)."""

    ie_type: ClassVar[int] = IeType.APN_RESTRICTION


@dataclass(frozen=True, slots=True)
class SelectionModeIe(Number):
    """Selection Mode (clause 8.58), a constants.SelectionMode."""

    ie_type: ClassVar[int] = IeType.SELECTION_MODE
    mask: ClassVar[int] = 3


@dataclass(frozen=True, slots=True)
class DelayValue(Number):
    """Delay before the next Downlink Data Notification, in units of 50 ms (clause 8.27)."""

    ie_type: ClassVar[int] = IeType.DELAY_VALUE


@dataclass(frozen=True, slots=True)
class BearerFlags(Number):
    """Bearer Flags (clause 8.32): bit 1 PPC, 2 VB, 3 Vind, 4 ASI."""

    ie_type: ClassVar[int] = IeType.BEARER_FLAGS


@dataclass(frozen=True, slots=True)
class BearerControlMode(Number):
    """Bearer Control Mode (clause 8.60): 0 UE only, 1 UE and network."""

    ie_type: ClassVar[int] = IeType.BEARER_CONTROL_MODE


@dataclass(frozen=True, slots=True)
class NodeType(Number):
    """Node Type (clause 8.65): 0 MME, 1 SGSN."""

    ie_type: ClassVar[int] = IeType.NODE_TYPE


@dataclass(frozen=True, slots=True)
class ChangeReportingAction(Number):
    """Change Reporting Action (clause 8.61)."""

    ie_type: ClassVar[int] = IeType.CHANGE_REPORTING_ACTION


@dataclass(frozen=True, slots=True)
class DetachType(Number):
    """Detach Type (clause 8.81)."""

    ie_type: ClassVar[int] = IeType.DETACH_TYPE


@dataclass(frozen=True, slots=True)
class NodeFeatures(Number):
    """Node Features (clause 8.83): bit 1 PRN, 2 MABR, 3 NTSR, 4 CIOT, 5 S1UN, 6 ETH, 7 MTEDT, 8 PSSET."""

    ie_type: ClassVar[int] = IeType.NODE_FEATURES


@dataclass(frozen=True, slots=True)
class ServiceIndicator(Number):
    """Service indicator (clause 8.79): 1 CS call, 2 SMS."""

    ie_type: ClassVar[int] = IeType.SERVICE_INDICATOR


@dataclass(frozen=True, slots=True)
class EpcTimer(Number):
    """EPC Timer (clause 8.87): unit in bits 8 to 6, value in bits 5 to 1."""

    ie_type: ClassVar[int] = IeType.EPC_TIMER


@dataclass(frozen=True, slots=True)
class UliTimestamp(Number):
    """ULI Timestamp (clause 8.101): seconds since 1900-01-01, UTC."""

    ie_type: ClassVar[int] = IeType.ULI_TIMESTAMP
    size: ClassVar[int] = 4


@dataclass(frozen=True, slots=True)
class RfspIndex(Number):
    """RFSP Index (clause 8.77)."""

    ie_type: ClassVar[int] = IeType.RFSP_INDEX
    size: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class SignallingPriorityIndication(Number):
    """Signalling Priority Indication (clause 8.88): bit 1 LAPI."""

    ie_type: ClassVar[int] = IeType.SIGNALLING_PRIORITY_INDICATION


NUMBERS: tuple[type[Number], ...] = (
    Recovery,
    Ebi,
    RatTypeIe,
    PdnTypeIe,
    Pti,
    ChargingId,
    ChargingCharacteristics,
    ApnRestriction,
    SelectionModeIe,
    DelayValue,
    BearerFlags,
    BearerControlMode,
    NodeType,
    ChangeReportingAction,
    DetachType,
    NodeFeatures,
    ServiceIndicator,
    EpcTimer,
    UliTimestamp,
    RfspIndex,
    SignallingPriorityIndication,
)
"""Every view that is one number."""
