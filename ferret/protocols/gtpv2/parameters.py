"""Every field of a GTPv2-C message, flat, under a stable path.

"header/TEID", "IMSI", "Cause/Cause", "AMBR/Uplink", "F-TEID[0]/TEID" (the bracket is the instance),
"Bearer Context[5]/Bearer QoS/QCI" (the EBI; the position where the EBI is 0), "PCO/DNS Server IPv4 Address[0]",
"Bearer Context[0]/Bearer TFT/Packet Filter[0]/Single remote port" (the packet filter identifier). An IE of another
instance than 0 has the instance in a bracket before any other; a further IE of the same type and instance has its
position among them after it. An IE that is not modelled, or malformed, is one parameter: its octets in hex.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from ferret.errors import DecodeError
from ferret.protocols.gtpv2 import single_values, views
from ferret.protocols.gtpv2.codec import Ie, Message, View
from ferret.protocols.gtpv2.constants import IeType, IndicationFlag
from ferret.protocols.gtpv2.location import Location, Uli
from ferret.protocols.gtpv2.names import IE_NAMES, ie_name
from ferret.protocols.gtpv2.pco import Ipcp, Pco, PcoContainer, PcoId
from ferret.protocols.gtpv2.tft import PacketFilter, Tft
from ferret.protocols.summary import Parameter

Field: TypeAlias = "tuple[str, str | int | None]"
Reader: TypeAlias = Callable[[bytes], Iterable[Field]]


def parameters(message: Message) -> list[Parameter]:
    """Every field of the message, header first."""
    found = []
    if message.teid is not None:
        found.append(Parameter("header/TEID", message.teid))
    found.append(Parameter("header/Sequence Number", message.sequence))
    if message.flags:
        found.append(Parameter("header/Flags", message.flags))
    if message.spare:
        found.append(Parameter("header/Spare", message.spare))
    _add_ies(message.ies, "", found)
    if message.trailing:
        found.append(Parameter("trailing", message.trailing.hex()))
    return found


def _add_ies(ies: tuple[Ie, ...], prefix: str, found: list[Parameter]) -> None:
    seen: dict[str, int] = {}
    for ie in ies:
        name = IE_NAMES.get(ie.type) or ie_name(ie.type)
        if ie.instance or ie.type == IeType.F_TEID:
            name = f"{name}[{ie.instance}]"
        times = seen[name] = seen.get(name, -1) + 1
        if ie.type == IeType.BEARER_CONTEXT:
            name = f"{name}[{_bearer_key(ie, times)}]"
            times = seen[name] = seen.get(name, -1) + 1
        _add_ie(ie, f"{prefix}{name}[{times}]" if times else prefix + name, found)


def _bearer_key(ie: Ie, position: int) -> int:
    try:
        ebi = ie.view(single_values.Ebi)
    except DecodeError:
        return position
    return ebi.value if ebi is not None and ebi.value else position


def _add_ie(ie: Ie, path: str, found: list[Parameter]) -> None:
    if ie.spare:
        found.append(Parameter(path + "/spare", ie.spare))
    if isinstance(ie.value, tuple):
        _add_ies(ie.value, path + "/", found)
        return
    reader = _READERS.get(ie.type)
    if reader is None:
        found.append(Parameter(path, ie.value.hex()))
        return
    try:
        fields = list(reader(ie.value))
    except DecodeError:
        fields = [("", ie.value.hex())]
    found += [Parameter(path + name, value) for name, value in fields]


def _digits(kind: type[single_values.Digits]) -> Reader:
    return lambda value: (("", kind.decode(value).digits),)


def _number(kind: type[single_values.Number]) -> Reader:
    return lambda value: (("", kind.decode(value).value),)


def _named(kind: type[View], *names: tuple[str, str]) -> Reader:
    """A reader that gives these attributes of a view under these names; empty text is left out."""

    def read(value: bytes) -> Iterable[Field]:
        view = kind.decode(value)
        return [("/" + name, found) for name, field in names if (found := getattr(view, field)) != ""]

    return read


def _cause(value: bytes) -> Iterable[Field]:
    cause = views.CauseIe.decode(value)
    yield "/Cause", cause.value
    flags = (("PCE", cause.pdn_connection_ie_error), ("BCE", cause.bearer_context_ie_error), ("CS", cause.remote))
    yield from (("/" + name, 1) for name, is_set in flags if is_set)
    if cause.offending:
        yield "/Offending IE", ie_name(cause.offending)
        yield "/Offending Instance", cause.offending_instance


def _text(kind: type[views.Apn] | type[views.Fqdn]) -> Reader:
    return lambda value: (("", kind.decode(value).name),)


def _ip_address(value: bytes) -> Iterable[Field]:
    yield "", views.IpAddress.decode(value).address


def _paa(value: bytes) -> Iterable[Field]:
    paa = views.Paa.decode(value)
    yield "/PDN Type", paa.pdn_type
    if paa.ipv4:
        yield "/IPv4", paa.ipv4
    if paa.ipv6:
        yield "/IPv6", paa.ipv6
        yield "/IPv6 Prefix Length", paa.prefix_length


def _indication(value: bytes) -> Iterable[Field]:
    flags = views.Indication(value).flags
    yield from (("/" + flag.name, 1) for flag in flags)
    rest = value[len(IndicationFlag) // 8 :]
    if any(rest):
        yield "/unnamed", rest.hex()
    if not any(value):
        yield "", None


def _pco(value: bytes) -> Iterable[Field]:
    options = Pco.decode(value)
    yield "/Configuration Protocol", options.head & 7
    seen: dict[int, int] = {}
    for container in options.containers:
        times = seen[container.identifier] = seen.get(container.identifier, -1) + 1
        path = "/" + container.name
        if times or container.identifier in _REPEATING_CONTAINERS:
            path += f"[{times}]"
        yield from _container(path, container)


_REPEATING_CONTAINERS = frozenset(
    (
        PcoId.P_CSCF_IPV4_ADDRESS,
        PcoId.P_CSCF_IPV6_ADDRESS,
        PcoId.DNS_SERVER_IPV4_ADDRESS,
        PcoId.DNS_SERVER_IPV6_ADDRESS,
    )
)
_IPCP_OPTIONS = {3: "IP Address", 129: "Primary DNS", 130: "Primary NBNS", 131: "Secondary DNS", 132: "Secondary NBNS"}


def _container(path: str, container: PcoContainer) -> Iterable[Field]:
    if container.identifier == PcoId.IPCP and container.content:
        try:
            packet = Ipcp.decode(container.content)
        except DecodeError:
            yield path, container.content.hex()
            return
        yield path + "/Code", packet.code
        yield path + "/Identifier", packet.identifier
        for number, value in packet.options:
            name = _IPCP_OPTIONS.get(number, f"Option {number}")
            yield f"{path}/{name}", _ipv4(value) if len(value) == 4 else value.hex()
        return
    yield path, container.text if container.content else None


def _ipv4(value: bytes) -> str:
    return ".".join(map(str, value))


def _uli(value: bytes) -> Iterable[Field]:
    location = Uli.decode(value)
    for part in location.parts:
        yield f"/{part.kind}/PLMN", part.plmn
        yield from ((f"/{part.kind}/{name}", number) for name, number in _location_numbers(part))
    if location.rest:
        yield "/rest", location.rest.hex()


_LOCATION_NAMES = {"CGI": ("LAC", "CI"), "SAI": ("LAC", "SAC"), "RAI": ("LAC", "RAC")}
_LOCATION_NAME = {"TAI": "TAC", "ECGI": "ECI", "LAI": "LAC"}


def _location_numbers(part: Location) -> Iterable[tuple[str, int]]:
    names = _LOCATION_NAMES.get(part.kind)
    if names is None:
        return ((_LOCATION_NAME.get(part.kind, "ID"), part.number),)
    return ((names[0], part.number >> 16), (names[1], part.number & 0xFFFF))


def tft_fields(tft: Tft) -> Iterable[Field]:
    """A TFT's fields, each path beginning with "/": also for NAS, which carries the same coding."""
    yield "/Operation", tft.operation
    seen: dict[int, int] = {}
    for identifier in tft.deleted:
        yield _filter_path(identifier & 15, seen), None
    for packet_filter in tft.packet_filters:
        yield from _packet_filter(_filter_path(packet_filter.identifier, seen), packet_filter)
    for position, parameter in enumerate(tft.parameters or ()):
        yield f"/Parameter[{position}]/Identifier", parameter.identifier
        yield f"/Parameter[{position}]/Value", parameter.value.hex()


def _filter_path(identifier: int, seen: dict[int, int]) -> str:
    """In a TAD, and in what a faulty peer sends, several filters may have one identifier."""
    times = seen[identifier] = seen.get(identifier, -1) + 1
    return f"/Packet Filter[{identifier}]" + (f"[{times}]" if times else "")


def _packet_filter(path: str, packet_filter: PacketFilter) -> Iterable[Field]:
    yield path + "/Direction", packet_filter.direction
    yield path + "/Precedence", packet_filter.precedence
    seen: dict[str, int] = {}
    for component in packet_filter.components:
        times = seen[component.name] = seen.get(component.name, -1) + 1
        yield f"{path}/{component.name}" + (f"[{times}]" if times else ""), component.text


_RATES = (
    ("MBR Uplink", "mbr_uplink"),
    ("MBR Downlink", "mbr_downlink"),
    ("GBR Uplink", "gbr_uplink"),
    ("GBR Downlink", "gbr_downlink"),
)
_ARP = (("PCI", "pci"), ("PL", "priority_level"), ("PVI", "pvi"))

_READERS: dict[int, Reader] = {
    IeType.CAUSE: _cause,
    IeType.APN: _text(views.Apn),
    IeType.FQDN: _text(views.Fqdn),
    IeType.IP_ADDRESS: _ip_address,
    IeType.AMBR: _named(views.Ambr, ("Uplink", "uplink"), ("Downlink", "downlink")),
    IeType.INDICATION: _indication,
    IeType.PCO: _pco,
    IeType.APCO: _pco,
    IeType.EPCO: _pco,
    IeType.PAA: _paa,
    IeType.BEARER_QOS: _named(views.BearerQos, *_ARP, ("QCI", "qci"), *_RATES),
    IeType.FLOW_QOS: _named(views.FlowQos, ("QCI", "qci"), *_RATES),
    IeType.ARP: _named(views.Arp, *_ARP),
    IeType.SERVING_NETWORK: _named(views.ServingNetwork, ("PLMN", "plmn")),
    IeType.ULI: _uli,
    IeType.F_TEID: _named(
        views.FTeid, ("Interface Type", "interface_type"), ("TEID", "teid"), ("IPv4", "ipv4"), ("IPv6", "ipv6")
    ),
    IeType.BEARER_TFT: lambda value: tft_fields(Tft.decode(value)),
    IeType.TAD: lambda value: tft_fields(Tft.decode(value)),
    IeType.UE_TIME_ZONE: _named(
        views.UeTimeZone, ("Time Zone", "quarters"), ("Daylight Saving Time", "daylight_saving")
    ),
}
_READERS |= {kind.ie_type: _digits(kind) for kind in (single_values.Imsi, single_values.Mei, single_values.Msisdn)}
_READERS |= {kind.ie_type: _number(kind) for kind in single_values.NUMBERS}
