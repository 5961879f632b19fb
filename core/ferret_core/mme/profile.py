"""The operator's configuration of an MME: everything that no message could let it compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ferret.errors import ConfigError
from ferret.protocols import s1ap
from ferret_core.mme.recorded_profile import profile_from_recording

__all__ = ["Profile", "changed", "profile_from_recording"]


@dataclass(frozen=True, slots=True)
class Profile:
    """An operator's choices. Octets are hexadecimal text in a document, a GUMMEI a table.

    Defaults are those of a plain EPC without roaming, circuit-switched fallback or emergency services.
    """

    # S1 (TS 36.413)
    mme_name: str = "mme"
    relative_capacity: int = 255
    served_gummeis: tuple[s1ap.ServedGummeis, ...] = ()
    masked_imeisv: bool = True  # give the eNB the Masked IMEISV
    # addresses
    sgw_address: str = ""  # S11; "": the only one there is
    pgw_address: str = ""  # S5/S8-C address that the SGW is told
    # S6a (TS 29.272)
    origin_host: str = "mme.epc.mnc001.mcc001.3gppnetwork.org"
    origin_realm: str = "epc.mnc001.mcc001.3gppnetwork.org"
    destination_host: str = ""
    destination_realm: str = "epc.mnc001.mcc001.3gppnetwork.org"
    requested_vectors: int = 1
    immediate_response: int | None = None
    ulr_flags: int = 0x22  # S6a/S6d-Indicator, Initial-Attach-Indicator
    ulr_terminal_information: bool = True
    ulr_ue_srvcc_capability: int | None = None
    ulr_sms_register_request: int | None = None
    vendor_specific_application_id: bool = True
    purge: bool = False  # send Purge-UE-Request after a detach
    # NAS (TS 24.301)
    integrity_preference: tuple[int, ...] = (2, 1, 3)
    ciphering_preference: tuple[int, ...] = (0, 2, 1, 3)
    imeisv_request: bool = True
    hash_mme: str = "unprotected"  # "always", "never", "unprotected": when the request was not verified
    esm_information: str = "flag"  # "always", "never", "flag": when the UE says that it has some
    t3412: str = "29"  # one octet; 9 min
    tai_lists: tuple[str, ...] = ()  # values of the IE; the first that holds the UE's TAI is given to it
    attach_accept: tuple[tuple[str, str], ...] = ()  # further fields of Attach accept and their values, in order
    allocate_guti: bool = True
    emm_information: tuple[tuple[str, str], ...] | None = None  # fields and values; the time is put in; None: not sent
    ipv4_only: bool = False  # PDN connections get IPv4 addresses alone, and every device is told so (ESM cause 50)
    apn_ambr_exact: bool = True
    kilobit: int = 1000  # bits per kbit/s in NAS; 1024 with MMEs that count so
    attach_result_as_asked: bool = False  # accept a combined attach of whoever asks for it
    cyclic_ebi: bool = False  # give EBIs in turn rather than the lowest that is free
    # GTPv2-C (TS 29.274)
    create_session_indication: tuple[str, ...] = ()
    create_session_indication_length: int = 0  # octets; 0: the IE is left out
    ue_time_zone: tuple[int, int] | None = None  # quarters of an hour from UTC, daylight saving
    selection_mode: int = 0
    apn_restriction: int | None = None
    send_msisdn: bool = True
    charging_characteristics: str = ""  # two octets, for subscribers who have none of their own
    gtp_kilobit: int = 1000  # bits per kbit/s in GTPv2-C; 1 with MMEs and gateways that give bit/s there
    delete_session_indication: tuple[str, ...] = ()
    delete_session_uli: bool = True
    release_node_type: int | None = None  # Originating Node in Release Access Bearers Request: 0 is MME
    activation_uli: bool = False  # ULI in Modify Bearer Request after attach or PDN connectivity
    service_uli: bool = False  # ULI in Modify Bearer Request after a service request
    service_delay_value: int | None = None  # Delay Downlink Packet Notification Request, 50 ms; same message
    notification_delay_value: int | None = None  # Data Notification Delay, 50 ms
    answer_time_zone: bool = True  # UE Time Zone and ULI in answers to bearer requests
    answer_uli: bool = True
    answer_sgw_f_teid: bool = True
    # timers
    esm_timer_s: float = 8.0  # T3495 (TS 24.301 table 10.3.1)
    t3413_s: float = 2.0  # paging (TS 24.301 table 10.2.2)
    paging_attempts: int = 3
    time_origin_s: float = 0.0  # seconds since the epoch at time 0 of the clock that drives the MME


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    entries = value.items() if isinstance(value, Mapping) else value
    return tuple((str(name), bytes.fromhex(octets).hex()) for name, octets in entries)


def _gummei(value: Mapping[str, Any]) -> s1ap.ServedGummeis:
    return s1ap.ServedGummeis(
        tuple(str(one) for one in value["plmns"]),
        tuple(int(one) for one in value["group_ids"]),
        tuple(int(one) for one in value["mme_codes"]),
    )


_CONVERT: dict[str, Callable[[Any], object]] = {
    "served_gummeis": lambda value: tuple(_gummei(one) for one in value),
    "integrity_preference": lambda value: tuple(int(one) for one in value),
    "ciphering_preference": lambda value: tuple(int(one) for one in value),
    "tai_lists": lambda value: tuple(str(one) for one in value),
    "attach_accept": _pairs,
    "emm_information": lambda value: None if value is None else _pairs(value),
    "create_session_indication": lambda value: tuple(str(one) for one in value),
    "delete_session_indication": lambda value: tuple(str(one) for one in value),
    "ue_time_zone": lambda value: None if value is None else (int(value[0]), int(value[1])),
}


def changed(profile: Profile, values: Mapping[str, Any]) -> Profile:
    """A profile with these values in place of its own. Raises ConfigError that lists every fault."""
    known = {one.name: one for one in fields(Profile)}
    faults: list[str] = [f"unknown key mme.{name}" for name in values if name not in known]
    new: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            continue
        try:
            new[name] = _CONVERT[name](value) if name in _CONVERT else _plain(getattr(Profile(), name), value)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            faults.append(f"mme.{name}: {error!r}")
    if faults:
        raise ConfigError("; ".join(faults))
    return replace(profile, **new)


def _plain(default: object, value: Any) -> Any:
    """A value of a key that needs no conversion, checked against the type of its default."""
    if default is None or value is None:
        return value
    if isinstance(default, bool) != isinstance(value, bool):
        raise TypeError(f"{value!r} is not of the type of {default!r}")
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if not isinstance(value, type(default)):
        raise TypeError(f"{value!r} is not of the type of {default!r}")
    return value
