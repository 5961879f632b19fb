"""Cx as the I-CSCF speaks it: UAR and LIR, and what their answers bring (TS 29.228 clauses 6.1.1 and 6.1.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

from ferret.errors import ConfigError, DecodeError
from ferret.protocols import diameter
from ferret.protocols.diameter import Application, Avp, Command, avp
from ferret.protocols.diameter.constants import VENDOR_3GPP

NO_STATE_MAINTAINED = 1


class UserAuthorization(IntEnum):
    """User-Authorization-Type (TS 29.229 clause 6.3.24)."""

    REGISTRATION = 0
    DE_REGISTRATION = 1


@dataclass(frozen=True, slots=True)
class CxProfile:
    """The I-CSCF's own part of Cx messages."""

    origin_host: str = "icscf.localdomain"
    origin_realm: str = "localdomain"
    destination_realm: str = "localdomain"
    destination_host: str = ""

    def changed(self, values: Mapping[str, Any]) -> CxProfile:
        """This profile changed by context. Raises ConfigError."""
        unknown = sorted(set(values) - {one.name for one in fields(CxProfile)})
        if unknown:
            raise ConfigError(f"an I-CSCF's Cx profile has no {', '.join(unknown)}")
        return replace(self, **{name: str(value) for name, value in values.items()})


def uar(
    profile: CxProfile, session_id: str, impi: str, impu: str, visited_network: str, asked: UserAuthorization
) -> diameter.Message:
    """User-Authorization-Request: may this user register here, and at which S-CSCF?"""
    return diameter.request(
        Command.USER_AUTHORIZATION,
        Application.CX,
        *_head(profile, session_id),
        avp.USER_NAME(impi),
        avp.PUBLIC_IDENTITY(impu),
        avp.VISITED_NETWORK_IDENTIFIER(visited_network or profile.origin_realm),
        avp.USER_AUTHORIZATION_TYPE(asked),
    )


def lir(profile: CxProfile, session_id: str, impu: str) -> diameter.Message:
    """Location-Info-Request: which S-CSCF serves this identity?"""
    return diameter.request(
        Command.LOCATION_INFO, Application.CX, *_head(profile, session_id), avp.PUBLIC_IDENTITY(impu)
    )


def _head(profile: CxProfile, session_id: str) -> tuple[Avp | None, ...]:
    application = avp.AUTH_APPLICATION_ID(Application.CX)
    return (
        avp.SESSION_ID(session_id),
        avp.VENDOR_SPECIFIC_APPLICATION_ID(avp.VENDOR_ID(VENDOR_3GPP), application),
        avp.AUTH_SESSION_STATE(NO_STATE_MAINTAINED),
        avp.ORIGIN_HOST(profile.origin_host),
        avp.ORIGIN_REALM(profile.origin_realm),
        avp.DESTINATION_HOST(profile.destination_host) if profile.destination_host else None,
        avp.DESTINATION_REALM(profile.destination_realm),
    )


def servers_of(answer: diameter.Message) -> tuple[str, ...]:
    """The S-CSCFs that a UAA or LIA names: the one that serves the user, or those that could (TS 29.229 6.3.2, 6.3.4).

    What cannot be read is not a name.
    """
    try:
        assigned = answer.value_of(avp.SERVER_NAME)
        if assigned:
            return (assigned,)
        capabilities = answer.find(avp.SERVER_CAPABILITIES)
        return () if capabilities is None else capabilities.values_of(avp.SERVER_NAME)
    except DecodeError:
        return ()
