"""Registration through the P-CSCF (TS 24.229 clause 5.2.2): the UE's REGISTER out, the S-CSCF's answer back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ferret.errors import DecodeError
from ferret.protocols import sip
from ferret_core.nf import Output
from ferret_core.pcscf import signalling_flow
from ferret_core.sip_names import DEFAULT_PORT
from ferret_core.sip_proxy import Branch, Context

if TYPE_CHECKING:
    from ferret_core.pcscf.pcscf import Pcscf

_KEYS = ("ck", "ik")
ContactKey: TypeAlias = tuple[str, str, int]
"""User, host and port of a contact."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What the P-CSCF keeps of a registered UE."""

    impi: str
    impus: tuple[str, ...]  # the default public identity first
    contact: str  # URI
    ue: str  # transport address "host:port"
    service_route: tuple[str, ...] = ()
    transport: str = "UDP"  # "TCP": requests to the UE go over the connection from `ue`


def route(pcscf: Pcscf, context: Context, now: float) -> list[Output]:
    """Send a REGISTER on to the home network, by the domain in its Request-URI."""
    request, _ = pcscf._without_own_route(context.request)
    if pcscf.integrity_protected:
        request = _with_integrity(request)
    aliased = pcscf._with_alias(request, context.peer)

    def forward(_: float) -> list[Output]:
        return pcscf._forward(context, aliased, pcscf._next_hop(request))

    return signalling_flow.begin(pcscf, context.peer.address, request, forward, now)


def answered(pcscf: Pcscf, context: Context, branch: Branch, answer: sip.Message, now: float) -> list[Output]:
    """Keep the keys from the UE; remember who is registered now."""
    shown = pcscf._send_upstream(context, without_keys(answer) if pcscf.keeps_keys else answer)
    if 200 <= answer.status < 300 and not _remember(pcscf, context, branch, answer, now):
        return [shown, *signalling_flow.end(pcscf, context.peer.address)]
    return [shown]


def without_keys(answer: sip.Message) -> sip.Message:
    """A challenge without ck and ik, which the P-CSCF keeps (TS 33.203 clause 6.1.1)."""
    value = answer.first("WWW-Authenticate")
    if not any(f"{key}=" in value for key in _KEYS):
        return answer
    try:
        scheme, params = sip.digest.parse(value)
    except DecodeError:
        return answer.remove("WWW-Authenticate")
    kept = {name: text for name, text in params.items() if name not in _KEYS}
    return answer.with_header("WWW-Authenticate", sip.digest.format_challenge(kept, scheme))


def _with_integrity(request: sip.Message) -> sip.Message:
    """Clause 5.2.2.2: whether the REGISTER came over a security association, in its Authorization."""
    value = request.first("Authorization")
    if not value:
        return request
    protected = "yes" if request.has("Security-Verify") else "no"
    return request.with_header("Authorization", f'{value}, integrity-protected="{protected}"')


def _remember(pcscf: Pcscf, context: Context, branch: Branch, answer: sip.Message, now: float) -> bool:
    """Keep what the registrar said; False: the UE is registered no more."""
    contact = sip.parse_name_addr(branch.request.first("Contact"))
    seconds = granted_expiry(contact, answer, branch.request)
    if seconds <= 0:
        pcscf.deregister(context.peer.address)
        return False
    associated = [sip.parse_uri(sip.parse_name_addr(v).uri).identity for v in answer.values("P-Associated-URI")]
    own = sip.parse_uri(sip.parse_name_addr(answer.first("To")).uri).identity
    registration = Registration(
        impi=_impi(context.request),
        impus=tuple(associated) or (own,),  # what P-Associated-URI leaves out is barred
        contact=contact.uri,
        ue=context.peer.address,
        service_route=answer.values("Service-Route"),
        transport="TCP" if sip.parse_via(context.request.first("Via")).transport == "TCP" else "UDP",
    )
    pcscf.register(registration, now + seconds)
    return True


def granted_expiry(contact: sip.NameAddr, answer: sip.Message, request: sip.Message) -> int:
    """How long the registrar registered a contact, in seconds: its Contact in the answer, or else Expires."""
    texts = [
        found.param("expires")
        for found in map(sip.parse_name_addr, answer.values("Contact"))
        if _same(found.uri, contact.uri)
    ]
    texts += [answer.first("Expires") or None, contact.param("expires"), request.first("Expires") or None, "0"]
    text = next(one for one in texts if one is not None)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0


def contact_key(uri: str) -> ContactKey:
    """What tells one contact from another."""
    parts = sip.parse_uri(uri)
    return parts.user, parts.host, parts.port or DEFAULT_PORT


def _same(one: str, other: str) -> bool:
    return contact_key(one) == contact_key(other)


def _impi(request: sip.Message) -> str:
    try:
        return sip.digest.parse(request.first("Authorization"))[1].get("username", "")
    except DecodeError:
        return ""
