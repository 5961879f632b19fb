"""Typed views of the S1AP values that the EPS procedures need (TS 36.413 clauses 9.2.1 to 9.2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple

from ferret.errors import DecodeError
from ferret.protocols.nas.identities import Tai, plmn_digits, plmn_octets
from ferret.protocols.s1ap.constants import Cause, IeId

MAX_BIT_RATE = 10_000_000_000  # bit/s: upper bound of BitRate (TS 36.413 clause 9.2.1.19)


class Tunnel(NamedTuple):
    """One end of an S1-U tunnel: Transport Layer Address and GTP-TEID (clauses 9.2.2.1 and 9.2.2.2)."""

    address: str
    teid: int

    @classmethod
    def of(cls, address: Any, teid: bytes) -> Tunnel:
        """From the two values as pycrate gives them."""
        return cls(transport_address(address), int.from_bytes(teid, "big"))


def transport_address(value: tuple[int, int]) -> str:
    """A Transport Layer Address in text: IPv4 of 32 bits, IPv6 of 128; of both (160 bits) the IPv4 one."""
    number, bits = value
    if bits == 160:
        number, bits = number >> 128, 32
    if bits not in (32, 128):
        raise DecodeError(f"transport layer address of {bits} bits", 0)
    return str(ip_address(number.to_bytes(bits // 8, "big")))


def transport_bits(address: str) -> tuple[int, int]:
    """The inverse of `transport_address`, for one address."""
    parsed = ip_address(address)
    return int(parsed), parsed.max_prefixlen


class Gbr(NamedTuple):
    """GBR QoS Information (clause 9.2.1.18), bit/s."""

    mbr_downlink: int
    mbr_uplink: int
    gbr_downlink: int
    gbr_uplink: int


@dataclass(frozen=True, slots=True)
class ErabQos:
    """E-RAB Level QoS Parameters (clause 9.2.1.15)."""

    qci: int
    priority_level: int
    may_preempt: bool = False  # Pre-emption Capability
    preemptable: bool = False  # Pre-emption Vulnerability
    gbr: Gbr | None = None

    def value(self) -> dict[str, Any]:
        """As pycrate wants it. Bit rates beyond 10 Gbit/s are given as 10 Gbit/s."""
        out: dict[str, Any] = {
            "qCI": self.qci,
            "allocationRetentionPriority": {
                "priorityLevel": self.priority_level,
                "pre-emptionCapability": (
                    "may-trigger-pre-emption" if self.may_preempt else "shall-not-trigger-pre-emption"
                ),
                "pre-emptionVulnerability": "pre-emptable" if self.preemptable else "not-pre-emptable",
            },
        }
        if self.gbr is not None:
            out["gbrQosInformation"] = {
                "e-RAB-MaximumBitrateDL": min(self.gbr.mbr_downlink, MAX_BIT_RATE),
                "e-RAB-MaximumBitrateUL": min(self.gbr.mbr_uplink, MAX_BIT_RATE),
                "e-RAB-GuaranteedBitrateDL": min(self.gbr.gbr_downlink, MAX_BIT_RATE),
                "e-RAB-GuaranteedBitrateUL": min(self.gbr.gbr_uplink, MAX_BIT_RATE),
            }
        return out

    @classmethod
    def of(cls, value: dict[str, Any]) -> ErabQos:
        """From a value as pycrate gives it."""
        arp = value["allocationRetentionPriority"]
        rates = value.get("gbrQosInformation")
        return cls(
            value["qCI"],
            arp["priorityLevel"],
            arp["pre-emptionCapability"] == "may-trigger-pre-emption",
            arp["pre-emptionVulnerability"] == "pre-emptable",
            Gbr(
                rates["e-RAB-MaximumBitrateDL"],
                rates["e-RAB-MaximumBitrateUL"],
                rates["e-RAB-GuaranteedBitrateDL"],
                rates["e-RAB-GuaranteedBitrateUL"],
            )
            if rates
            else None,
        )


@dataclass(frozen=True, slots=True)
class Erab:
    """One item of any E-RAB list, with what that list says of it; None: it says nothing."""

    ebi: int  # E-RAB ID, equal to the EPS bearer identity (TS 36.413 clause 9.2.1.2)
    qos: ErabQos | None = None
    tunnel: Tunnel | None = None  # of the S-GW in a request, of the eNB in an answer
    nas_pdu: bytes | None = None
    cause: Cause | None = None
    transport_information: Tunnel | None = None  # E-RAB MODIFY REQUEST, id 185: the S-GW's new end

    @classmethod
    def of(cls, item: dict[str, Any]) -> Erab:
        """From an item's value as pycrate gives it."""
        qos = item.get("e-RABlevelQoSParameters") or item.get("e-RABLevelQoSParameters")
        address, teid = item.get("transportLayerAddress"), item.get("gTP-TEID") or item.get("dL-gTP-TEID")
        cause = item.get("cause")
        return cls(
            item["e-RAB-ID"],
            ErabQos.of(qos) if qos else None,
            Tunnel.of(address, teid) if address and teid else None,
            item.get("nAS-PDU"),
            Cause(*cause) if cause else None,
            _transport_information(item),
        )


def _transport_information(item: dict[str, Any]) -> Tunnel | None:
    for extension in item.get("iE-Extensions") or ():
        if extension["id"] == IeId.TRANSPORT_INFORMATION:
            content = extension["extensionValue"][1]
            return Tunnel.of(content["transportLayerAddress"], content["uL-GTP-TEID"])
    return None


def _plmn(octets: bytes) -> str:
    digits = plmn_digits(octets)
    if not digits.isdecimal():
        raise DecodeError(f"{octets.hex()} is no PLMN identity")
    return digits


def tai_value(tai: Tai) -> dict[str, Any]:
    """A TAI (clause 9.2.3.16) as pycrate wants it."""
    return {"pLMNidentity": plmn_octets(tai.plmn), "tAC": tai.tac.to_bytes(2, "big")}


def tai_of(value: dict[str, Any]) -> Tai:
    """A TAI from a value as pycrate gives it. Raises DecodeError where its PLMN is none."""
    return Tai(_plmn(value["pLMNidentity"]), int.from_bytes(value["tAC"], "big"))


class Ecgi(NamedTuple):
    """E-UTRAN Cell Global Identifier (clause 9.2.1.38); `cell` is 28 bits."""

    plmn: str
    cell: int

    def value(self) -> dict[str, Any]:
        """As pycrate wants it."""
        return {"pLMNidentity": plmn_octets(self.plmn), "cell-ID": (self.cell, 28)}

    @classmethod
    def of(cls, value: dict[str, Any]) -> Ecgi:
        """From a value as pycrate gives it. Raises DecodeError where its PLMN is none."""
        return cls(_plmn(value["pLMNidentity"]), value["cell-ID"][0])


class ServedGummeis(NamedTuple):
    """One item of Served GUMMEIs (clause 9.1.8.5)."""

    plmns: tuple[str, ...]
    group_ids: tuple[int, ...]
    mme_codes: tuple[int, ...]

    def value(self) -> dict[str, Any]:
        """As pycrate wants it."""
        return {
            "servedPLMNs": [plmn_octets(plmn) for plmn in self.plmns],
            "servedGroupIDs": [group.to_bytes(2, "big") for group in self.group_ids],
            "servedMMECs": [bytes((code,)) for code in self.mme_codes],
        }

    @classmethod
    def of(cls, value: dict[str, Any]) -> ServedGummeis:
        """From a value as pycrate gives it."""
        return cls(
            tuple(plmn_digits(plmn) for plmn in value["servedPLMNs"]),
            tuple(int.from_bytes(group, "big") for group in value["servedGroupIDs"]),
            tuple(code[0] for code in value["servedMMECs"]),
        )
