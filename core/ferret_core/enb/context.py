"""What an emulated base station takes over of a device that is already attached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferret.errors import ConfigError
from ferret.protocols.nas import NasSecurityContext
from ferret.protocols.s1ap import Tunnel


@dataclass(frozen=True, slots=True)
class ImportedBearer:
    """An E-RAB with its EPS bearer."""

    ebi: int
    enb: Tunnel  # where the base station receives downlink packets
    sgw: Tunnel  # where it sends uplink packets
    linked_ebi: int = 0  # of a dedicated bearer: its default bearer
    address: str = ""  # of a default bearer: the device's PDN address
    apn: str = ""
    qci: int = 9


@dataclass(frozen=True, slots=True)
class ImportedUe:
    """A device. `security` None: its keys are not known, so NAS messages to it cannot be verified."""

    imsi: str
    enb_ue_s1ap_id: int
    mme_ue_s1ap_id: int | None = None  # None: whatever the MME's first message says
    security: NasSecurityContext | None = None
    bearers: tuple[ImportedBearer, ...] = ()
    m_tmsi: int | None = None
    mme_code: int = 0


_UE_KEYS = {"imsi", "enb_ue_s1ap_id", "mme_ue_s1ap_id", "security", "bearers", "m_tmsi", "mme_code"}
_SECURITY_KEYS = {"k_asme", "integrity", "ciphering", "ksi", "uplink_count", "downlink_count"}
_BEARER_KEYS = {
    *("ebi", "linked_ebi", "address", "apn", "qci"),
    *("enb_address", "enb_teid", "sgw_address", "sgw_teid"),
}


def read_ues(context: Mapping[str, object]) -> tuple[ImportedUe, ...]:
    """The devices of `{"ues": [...]}`, with K_ASME in hexadecimal. Raises ConfigError on unknown or missing keys."""
    unknown = set(context) - {"ues"}
    ues = context.get("ues", ())
    if unknown or not isinstance(ues, Sequence):
        raise ConfigError(f"eNB context: unknown {', '.join(sorted(unknown)) or 'form of ues'}")
    try:
        return tuple(_ue(_checked(ue, _UE_KEYS)) for ue in ues)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"eNB context: {type(error).__name__} {error}") from error


def _checked(value: object, known: set[str]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError("eNB context: an entry is not an object")
    if unknown := set(value) - known:
        raise ConfigError(f"eNB context: unknown {', '.join(sorted(map(str, unknown)))}")
    return value


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"eNB context: {value!r} is not a number")
    return value


def _ue(ue: Mapping[str, object]) -> ImportedUe:
    bearers = ue.get("bearers", ())
    if not isinstance(bearers, Sequence):
        raise ConfigError("eNB context: bearers are no list")
    mme_id, m_tmsi = ue.get("mme_ue_s1ap_id"), ue.get("m_tmsi")
    return ImportedUe(
        str(ue["imsi"]),
        _number(ue["enb_ue_s1ap_id"]),
        None if mme_id is None else _number(mme_id),
        _security(ue.get("security")),
        tuple(_bearer(_checked(bearer, _BEARER_KEYS)) for bearer in bearers),
        None if m_tmsi is None else _number(m_tmsi),
        _number(ue.get("mme_code", 0)),
    )


def _security(value: object) -> NasSecurityContext | None:
    if value is None:
        return None
    security = _checked(value, _SECURITY_KEYS)
    return NasSecurityContext(
        bytes.fromhex(str(security["k_asme"])),
        _number(security["integrity"]),
        _number(security["ciphering"]),
        _number(security.get("ksi", 0)),
        _number(security.get("uplink_count", 0)),
        _number(security.get("downlink_count", 0)),
    )


def _bearer(bearer: Mapping[str, object]) -> ImportedBearer:
    return ImportedBearer(
        _number(bearer["ebi"]),
        Tunnel(str(bearer["enb_address"]), _number(bearer["enb_teid"])),
        Tunnel(str(bearer["sgw_address"]), _number(bearer["sgw_teid"])),
        _number(bearer.get("linked_ebi", 0)),
        str(bearer.get("address", "")),
        str(bearer.get("apn", "")),
        _number(bearer.get("qci", 9)),
    )
