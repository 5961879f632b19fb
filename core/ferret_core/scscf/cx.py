"""Cx as the S-CSCF speaks it: MAR and SAR, what their answers bring, RTR and PPR (TS 29.228, TS 29.229)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from html import unescape

from ferret.errors import DecodeError
from ferret.protocols import diameter, sip
from ferret.protocols.diameter import Application, Avp, Command, avp
from ferret.protocols.diameter.constants import VENDOR_3GPP, ResultCode
from ferret_core.scscf.policy import CxProfile

NO_STATE_MAINTAINED = 1
MAX_PROFILE_OCTETS = 1 << 18
_IDENTITY = re.compile(r"<PublicIdentity\b[^>]*>(.*?)</PublicIdentity>", re.DOTALL)
_NAME = re.compile(r"<Identity\b[^>]*>\s*([^<]*?)\s*</Identity>")
_BARRED = re.compile(r"<BarringIndication\b[^>]*>\s*(1|true)\s*</BarringIndication>")


class Assignment(IntEnum):
    """Server-Assignment-Type (TS 29.229 clause 6.3.15)."""

    REGISTRATION = 1
    RE_REGISTRATION = 2
    TIMEOUT_DEREGISTRATION = 4
    USER_DEREGISTRATION = 5


@dataclass(frozen=True, slots=True)
class Vector:
    """One authentication vector as it came in an MAA. Secret."""

    nonce: str  # base64 of RAND and AUTN
    xres: bytes
    ck: bytes
    ik: bytes
    algorithm: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A public identity of the user profile."""

    uri: str
    barred: bool


def mar(profile: CxProfile, session_id: str, impi: str, impu: str, authorization: bytes = b"") -> diameter.Message:
    """Multimedia-Auth-Request for one vector. `authorization` is RAND and AUTS where the UE asks to resynchronise."""
    item = [avp.SIP_AUTHENTICATION_SCHEME(profile.scheme)]
    if authorization:
        item.append(avp.SIP_AUTHORIZATION(authorization))
    return diameter.request(
        Command.MULTIMEDIA_AUTH,
        Application.CX,
        *_head(profile, session_id),
        avp.PUBLIC_IDENTITY(impu),
        avp.USER_NAME(impi),
        avp.SIP_NUMBER_AUTH_ITEMS(1),
        avp.SIP_AUTH_DATA_ITEM(*item),
        avp.SERVER_NAME(profile.server_name),
    )


def sar(
    profile: CxProfile,
    session_id: str,
    impi: str,
    impu: str,
    assignment: Assignment,
    *,
    known: bool,
    call_id: str = "",
) -> diameter.Message:
    """Server-Assignment-Request. `known`: the user profile is here already."""
    own = None
    if profile.call_id_avp is not None and call_id:
        code, vendor = profile.call_id_avp
        own = Avp(code, vendor, 0x80 if vendor else 0, call_id.encode("utf-8", "surrogateescape"))
    return diameter.request(
        Command.SERVER_ASSIGNMENT,
        Application.CX,
        *_head(profile, session_id, own),
        avp.PUBLIC_IDENTITY(impu),
        avp.SERVER_NAME(profile.server_name),
        avp.USER_NAME(impi),
        avp.SERVER_ASSIGNMENT_TYPE(assignment),
        avp.USER_DATA_ALREADY_AVAILABLE(int(known)),
    )


def _head(profile: CxProfile, session_id: str, own: Avp | None = None) -> tuple[Avp | None, ...]:
    return (
        avp.SESSION_ID(session_id),
        avp.ORIGIN_HOST(profile.origin_host),
        avp.ORIGIN_REALM(profile.origin_realm),
        own,
        avp.DESTINATION_REALM(profile.destination_realm),
        avp.DESTINATION_HOST(profile.destination_host) if profile.destination_host else None,
        _application(),
        avp.AUTH_SESSION_STATE(NO_STATE_MAINTAINED),
    )


def _application() -> Avp:
    return avp.VENDOR_SPECIFIC_APPLICATION_ID(avp.VENDOR_ID(VENDOR_3GPP), avp.AUTH_APPLICATION_ID(Application.CX))


def success(profile: CxProfile, request: diameter.Message) -> diameter.Message:
    """RTA or PPA with success."""
    return diameter.answer(
        request,
        _application(),
        avp.RESULT_CODE(ResultCode.SUCCESS),
        avp.AUTH_SESSION_STATE(NO_STATE_MAINTAINED),
        avp.ORIGIN_HOST(profile.origin_host),
        avp.ORIGIN_REALM(profile.origin_realm),
    )


def vector_of(answer: diameter.Message) -> Vector | None:
    """The authentication vector of an MAA; None where there is none that can be used."""
    item = answer.find(avp.SIP_AUTH_DATA_ITEM)
    if item is None:
        return None
    try:
        challenge = item.value_of(avp.SIP_AUTHENTICATE)
        xres = item.value_of(avp.SIP_AUTHORIZATION)
        ck, ik = item.value_of(avp.CONFIDENTIALITY_KEY), item.value_of(avp.INTEGRITY_KEY)
        scheme = item.value_of(avp.SIP_AUTHENTICATION_SCHEME) or ""
    except DecodeError:
        return None
    if challenge is None or xres is None or len(challenge) < 32:
        return None
    nonce = sip.digest.aka_nonce(challenge[:16], challenge[16:32])
    return Vector(nonce, xres, ck or b"", ik or b"", scheme.removeprefix("Digest-") or "AKAv1-MD5")


def identities_of(answer: diameter.Message) -> tuple[Identity, ...]:
    """The public identities of the user profile in an SAA or PPR, in its order (TS 29.228 annex B)."""
    found = answer.find(avp.USER_DATA)
    if found is None or len(found.octets) > MAX_PROFILE_OCTETS:
        return ()
    text = found.octets.decode("utf-8", "replace")
    identities = []
    for block in _IDENTITY.findall(text):
        name = _NAME.search(block)
        if name is not None:
            identities.append(Identity(unescape(name[1]), _BARRED.search(block) is not None))
    return tuple(identities)
