"""Every field of a Diameter message, flat, each under a stable path of the specifications' own names.

A group that can occur several times is marked by its natural key where that key is nobody's to allocate
("Media-Component-Description[1]", "Subscription-Id[0]"), by its position otherwise ("Charging-Rule-Install[0]").
AVP flags are not shown. Keys and authentication vectors are shown as "sha256:" and eight digits, which is enough to see
whether two are equal.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import datetime
from typing import Any, Final

from ferret.errors import DecodeError
from ferret.protocols.diameter import avp
from ferret.protocols.diameter.definition import AvpDefinition, AvpType
from ferret.protocols.diameter.dictionary import definition_of, name_of
from ferret.protocols.diameter.tree import Avp, Message
from ferret.protocols.summary import Parameter

# Group -> the AVP in it that tells one from another.
_KEYS: Final[dict[str, AvpDefinition[Any]]] = {
    avp.MEDIA_COMPONENT_DESCRIPTION.name: avp.MEDIA_COMPONENT_NUMBER,
    avp.MEDIA_SUB_COMPONENT.name: avp.FLOW_NUMBER,
    avp.FLOWS.name: avp.MEDIA_COMPONENT_NUMBER,
    avp.SUBSCRIPTION_ID.name: avp.SUBSCRIPTION_ID_TYPE,
    avp.SUPPORTED_FEATURES.name: avp.FEATURE_LIST_ID,
    avp.APN_CONFIGURATION.name: avp.SERVICE_SELECTION,
    avp.E_UTRAN_VECTOR.name: avp.ITEM_NUMBER,
    avp.SIP_AUTH_DATA_ITEM.name: avp.SIP_ITEM_NUMBER,
    avp.MULTIPLE_SERVICES_CREDIT_CONTROL.name: avp.RATING_GROUP,
    avp.USAGE_MONITORING_INFORMATION.name: avp.MONITORING_KEY,
}

# What the grammars allow several of ("*"), so that one alone is numbered too. After the group it occurs in, if that
# matters: one Charging-Rule-Name defines a rule, but several are removed or reported.
_REPEATED: Final = frozenset(
    (
        "Charging-Rule-Install", "Charging-Rule-Remove", "Charging-Rule-Definition", "Charging-Rule-Report",
        "Charging-Rule-Remove/Charging-Rule-Name", "Charging-Rule-Report/Charging-Rule-Name",
        "Charging-Rule-Install/Charging-Rule-Name", "Charging-Rule-Base-Name", "Conditional-Policy-Information",
        "Flow-Information", "Flow-Description", "Flows/Flow-Number", "Codec-Data", "Acceptable-Service-Info",
        "Event-Trigger", "Specific-Action", "Host-IP-Address", "Supported-Vendor-Id", "Inband-Security-Id",
        "Vendor-Specific-Application-Id", "Route-Record", "Proxy-Info", "Class", "Failed-AVP", "Redirect-Host",
        "Load", "Public-Identity", "AN-GW-Address", "Access-Network-Charging-Identifier",
        "Access-Network-Charging-Identifier-Gx", "Access-Network-Charging-Address", "Flow-Grouping",
        "QoS-Rule-Install", "QoS-Rule-Remove", "QoS-Rule-Definition", "CoA-Information", "Reporting-Reason",
        "Used-Service-Unit", "Trigger-Type", "Service-Data-Container", "Packet-Filter-Information",
        "TFT-Packet-Filter-Information", "Mandatory-Capability", "Optional-Capability", "Digest-Auth-Param",
        "Regional-Subscription-Zone-Code", "CSG-Subscription-Data", "UTRAN-Vector", "GERAN-Vector",
    )
)  # fmt: skip


def parameters(message: Message) -> list[Parameter]:
    """Every field of `message` in its order; the header first. Never raises."""
    fields = [
        Parameter("header/Version", message.version),
        Parameter("header/Command Flags", message.flags),
        Parameter("header/Command Code", message.command),
        Parameter("header/Application-ID", message.application),
        Parameter("header/Hop-by-Hop Identifier", message.hop_by_hop),
        Parameter("header/End-to-End Identifier", message.end_to_end),
    ]
    _add(fields, message.avps, "", "")
    return fields


def _add(fields: list[Parameter], avps: tuple[Avp, ...], prefix: str, group: str) -> None:
    names = [name_of(one) for one in avps]
    several = Counter(names)
    seen: Counter[str] = Counter()
    for one, name in zip(avps, names, strict=True):
        part = _part(one, name, group, several[name] > 1, seen)
        if isinstance(one.value, tuple) and one.value:
            _add(fields, one.value, f"{prefix}{part}/", name)
        else:
            fields.append(Parameter(prefix + part, value_of(one)))


def _part(one: Avp, name: str, group: str, several: bool, seen: Counter[str]) -> str:
    """The name, and in brackets which of its kind it is."""
    key = _key(one, name)
    if key is not None:
        part = f"{name}[{key}]"
        seen[part] += 1
        return part if seen[part] == 1 else f"{name}[{key} #{seen[part]}]"
    if several or name in _REPEATED or f"{group}/{name}" in _REPEATED:
        seen[name] += 1
        return f"{name}[{seen[name] - 1}]"
    return name


def _key(one: Avp, name: str) -> int | str | None:
    definition = _KEYS.get(name)
    if definition is None:
        return None
    try:
        key: int | str | None = one.value_of(definition)
    except DecodeError:
        return None
    if isinstance(key, str):
        key = "".join(c if c.isprintable() and c not in "/[]" else "_" for c in key)
    return key


def _shown(text: str) -> str:
    """Text with what cannot be shown, such as the NUL that Kamailio ends Codec-Data with, as "\\x00"."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c in "\r\n\t" else f"\\x{ord(c) & 0xFF:02x}" for c in text])


def value_of(one: Avp) -> str | int | None:
    """The value of one AVP as a parameter: a number, text, or the hex digits of opaque octets; None: an empty group."""
    definition = definition_of(one)
    if isinstance(one.value, tuple):
        return None
    if definition is None or definition.type in (AvpType.OCTETS, AvpType.GROUPED):
        return fingerprint(one.value) if definition is not None and definition.secret else one.value.hex()
    if definition.secret:
        return fingerprint(one.value)
    try:
        value = definition.read(one)
    except DecodeError:
        return one.value.hex()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, int):
        return value
    return _shown(str(value))


def fingerprint(secret: bytes) -> str:
    """What is shown in place of a secret."""
    return f"sha256:{hashlib.sha256(secret).hexdigest()[:8]}"
