"""Every field of a NAS message, flat, under a stable path (TS 24.301's own names).

"Security header type", "Message authentication code", "Sequence number", "Message type", then the fields:
"EPS mobile identity/IMSI", "GUTI/M-TMSI", "TAI list[0]/TAC", "EPS QoS/QCI", "TFT/Packet Filter[1]/Single remote port",
"Protocol configuration options/P-CSCF IPv4 Address[0]", "ESM message container/Access point name". What is ciphered is
one parameter, "ciphered". Values that are not modelled are numbers where they have one octet, else hex.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from typing import Final, TypeAlias

from ferret.errors import DecodeError
from ferret.protocols.gtpv2.parameters import tft_fields
from ferret.protocols.gtpv2.pco import Pco
from ferret.protocols.gtpv2.tft import Tft
from ferret.protocols.nas.grammar import Discriminator
from ferret.protocols.nas.identities import plmn_digits
from ferret.protocols.nas.message import Field, Message, Plain, SecurityHeader, decode_plain
from ferret.protocols.nas.values import (
    ApnAmbr,
    EpsQos,
    IdentityType,
    MobileIdentity,
    PdnAddress,
    UeNetworkCapability,
    decode_apn,
    decode_tai_list,
    gprs_timer,
)

Entry: TypeAlias = "tuple[str, str | int | None]"
Reader: TypeAlias = Callable[[bytes], Iterator[Entry]]
_DIGITS: Final = {IdentityType.IMSI: "IMSI", IdentityType.IMEI: "IMEI", IdentityType.IMEISV: "IMEISV"}
_MAX_DEPTH: Final = 3  # Security mode complete > Attach request > PDN connectivity request


def nas_fields(message: Message) -> Iterator[Entry]:
    """The fields of a NAS-PDU with its security header."""
    yield "Security header type", int(message.header)
    if message.header is not SecurityHeader.PLAIN:
        yield "Message authentication code", message.mac.hex()
        yield "Sequence number", message.sequence_number
    if message.header is SecurityHeader.SERVICE_REQUEST:
        yield "Message type", message.name
        yield "NAS key set identifier", message.ksi
    elif message.plain is None:
        yield "ciphered", message.payload.hex()
    else:
        yield from plain_fields(message.plain)


def plain_fields(plain: Plain, depth: int = 0) -> Iterator[Entry]:
    """The fields of a plain message."""
    if plain.discriminator is Discriminator.ESM:
        yield "EPS bearer identity", plain.ebi
        yield "Procedure transaction identity", plain.pti
    yield "Message type", plain.name
    seen: dict[str, int] = {}
    for field in plain.fields:
        if field.name == "Spare half octet" and not field.number:
            continue
        times = seen[field.name] = seen.get(field.name, -1) + 1
        path = f"{field.name}[{times}]" if times else field.name
        yield from ((path + name, value) for name, value in _field(field, depth))


def _field(field: Field, depth: int) -> Iterator[Entry]:
    if field.name in _CONTAINERS and field.octets and depth < _MAX_DEPTH:
        yield from _container(field.octets, depth)
        return
    reader = _READERS.get(field.name)
    entries: list[Entry] = []
    if reader is not None:
        try:
            entries = list(reader(field.octets))
        except (DecodeError, ValueError):
            entries = []
    yield from entries or [("", _opaque(field.octets))]


def _opaque(octets: bytes) -> str | int | None:
    if not octets:
        return None
    return octets[0] if len(octets) == 1 else octets.hex()


def _container(octets: bytes, depth: int) -> Iterator[Entry]:
    try:
        inner = list(plain_fields(decode_plain(octets), depth + 1))
    except DecodeError:
        yield "", octets.hex()
        return
    yield from (("/" + name, value) for name, value in inner)


_CONTAINERS: Final = frozenset(("ESM message container", "Replayed NAS message container"))


def _identity(octets: bytes) -> Iterator[Entry]:
    identity = MobileIdentity.decode(octets)
    if identity.guti is not None:
        yield "/PLMN", identity.guti.plmn
        yield "/MME Group ID", identity.guti.group_id
        yield "/MME Code", identity.guti.mme_code
        yield "/M-TMSI", f"0x{identity.guti.m_tmsi:08x}"
    elif identity.tmsi is not None:
        yield "/TMSI", f"0x{identity.tmsi:08x}"
    elif identity.type in _DIGITS:
        yield "/" + _DIGITS[IdentityType(identity.type)], identity.digits


def _qos(octets: bytes) -> Iterator[Entry]:
    qos = EpsQos.decode(octets)
    yield "/QCI", qos.qci
    rates = (
        ("/Maximum bit rate for uplink", qos.mbr_uplink),
        ("/Maximum bit rate for downlink", qos.mbr_downlink),
        ("/Guaranteed bit rate for uplink", qos.gbr_uplink),
        ("/Guaranteed bit rate for downlink", qos.gbr_downlink),
    )
    yield from ((name, rate) for name, rate in rates if rate is not None)


def _ambr(octets: bytes) -> Iterator[Entry]:
    rates = ApnAmbr.decode(octets)
    yield "/APN-AMBR for downlink", rates.downlink
    yield "/APN-AMBR for uplink", rates.uplink


def _pdn_address(octets: bytes) -> Iterator[Entry]:
    address = PdnAddress.decode(octets)
    yield "/PDN type value", address.type
    if address.ipv4:
        yield "/IPv4", address.ipv4
    if address.interface_identifier:
        yield "/Interface identifier", str(IPv6Address(bytes(8) + address.interface_identifier))


def _tai_list(octets: bytes) -> Iterator[Entry]:
    for position, tai in enumerate(decode_tai_list(octets)):
        yield f"[{position}]/PLMN", tai.plmn
        yield f"[{position}]/TAC", tai.tac


def _tai(octets: bytes) -> Iterator[Entry]:
    yield "/PLMN", plmn_digits(octets[:3])
    yield "/TAC", int.from_bytes(octets[3:5], "big")


def _capability(octets: bytes) -> Iterator[Entry]:
    capability = UeNetworkCapability.decode(octets)
    yield "/EEA", f"{capability.eea:08b}"
    yield "/EIA", f"{capability.eia:08b}"
    if octets[2:]:
        yield "/rest", octets[2:].hex()


def _apn(octets: bytes) -> Iterator[Entry]:
    yield "", decode_apn(octets)


def _algorithms(octets: bytes) -> Iterator[Entry]:
    yield "/Type of ciphering algorithm", octets[0] >> 4 & 7
    yield "/Type of integrity protection algorithm", octets[0] & 7


def _timer(octets: bytes) -> Iterator[Entry]:
    seconds = gprs_timer(octets[0]) if len(octets) == 1 else None
    yield "", "deactivated" if seconds is None else seconds


def _pco(octets: bytes) -> Iterator[Entry]:
    options = Pco.decode(octets)
    yield "/Configuration Protocol", options.head & 7
    seen: dict[str, int] = {}
    for container in options.containers:
        times = seen[container.name] = seen.get(container.name, -1) + 1
        repeats = times or container.name.endswith("Address")
        yield f"/{container.name}" + (f"[{times}]" if repeats else ""), container.text if container.content else None


def _tft(octets: bytes) -> Iterator[Entry]:
    yield from tft_fields(Tft.decode(octets))


def _status(octets: bytes) -> Iterator[Entry]:
    """EPS bearer context status (clause 9.9.2.1): bit 1 of octet 3 is EBI 0."""
    bits = octets[0] | (octets[1] << 8 if len(octets) > 1 else 0)
    for ebi in range(1, 16):
        if bits >> ebi & 1:
            yield f"/EBI({ebi})", 1


_READERS: Final[dict[str, Reader]] = {
    "EPS mobile identity": _identity,
    "Old GUTI": _identity,
    "Additional GUTI": _identity,
    "GUTI": _identity,
    "Mobile identity": _identity,
    "MS identity": _identity,
    "M-TMSI": _identity,
    "IMEISV": _identity,
    "EPS QoS": _qos,
    "New EPS QoS": _qos,
    "Required traffic flow QoS": _qos,
    "APN-AMBR": _ambr,
    "PDN address": _pdn_address,
    "TAI list": _tai_list,
    "Last visited registered TAI": _tai,
    "UE network capability": _capability,
    "Replayed UE security capabilities": _capability,
    "Access point name": _apn,
    "Selected NAS security algorithms": _algorithms,
    "T3412 value": _timer,
    "T3402 value": _timer,
    "T3423 value": _timer,
    "Protocol configuration options": _pco,
    "Extended protocol configuration options": _pco,
    "TFT": _tft,
    "Traffic flow aggregate": _tft,
    "EPS bearer context status": _status,
}
