"""Cx: who serves a public identity, authentication, registration (TS 29.228 clause 6.1)."""

from __future__ import annotations

from enum import IntEnum

from ferret.protocols.diameter import Avp, Message, ResultCode, avp
from ferret.protocols.diameter.constants import CxResult
from ferret_core.hss.state import HssState, accept, experimental, say
from ferret_core.hss.subscription import ImsState, Subscriber
from ferret_core.hss.user_profile import user_profile
from ferret_core.hss.vectors import next_vector, resynchronise
from ferret_core.nf import Output, Received, Send


class Assignment(IntEnum):
    """Server-Assignment-Type (TS 29.229 clause 6.3.15)."""

    NO_ASSIGNMENT = 0
    REGISTRATION = 1
    RE_REGISTRATION = 2
    UNREGISTERED_USER = 3
    TIMEOUT_DEREGISTRATION = 4
    USER_DEREGISTRATION = 5
    TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME = 6
    USER_DEREGISTRATION_STORE_SERVER_NAME = 7
    ADMINISTRATIVE_DEREGISTRATION = 8
    AUTHENTICATION_FAILURE = 9
    AUTHENTICATION_TIMEOUT = 10
    DEREGISTRATION_TOO_MUCH_DATA = 11


# The subscription's state after a SAR of each type (TS 29.228 clause 6.1.2.1); None: as it was.
_NEXT_STATE: dict[int, ImsState | None] = {
    Assignment.NO_ASSIGNMENT: None,
    Assignment.REGISTRATION: ImsState.REGISTERED,
    Assignment.RE_REGISTRATION: ImsState.REGISTERED,
    Assignment.UNREGISTERED_USER: ImsState.UNREGISTERED,
    Assignment.TIMEOUT_DEREGISTRATION: ImsState.NOT_REGISTERED,
    Assignment.USER_DEREGISTRATION: ImsState.NOT_REGISTERED,
    Assignment.TIMEOUT_DEREGISTRATION_STORE_SERVER_NAME: ImsState.UNREGISTERED,
    Assignment.USER_DEREGISTRATION_STORE_SERVER_NAME: ImsState.UNREGISTERED,
    Assignment.ADMINISTRATIVE_DEREGISTRATION: ImsState.NOT_REGISTERED,
    Assignment.AUTHENTICATION_FAILURE: ImsState.NOT_REGISTERED,
    Assignment.AUTHENTICATION_TIMEOUT: ImsState.NOT_REGISTERED,
    Assignment.DEREGISTRATION_TOO_MUCH_DATA: ImsState.NOT_REGISTERED,
}
_WITH_PROFILE = frozenset(
    (Assignment.NO_ASSIGNMENT, Assignment.REGISTRATION, Assignment.RE_REGISTRATION, Assignment.UNREGISTERED_USER)
)
_DEREGISTRATION = 1  # User-Authorization-Type (TS 29.229 clause 6.3.24)
_ALREADY_AVAILABLE = 1  # User-Data-Already-Available (clause 6.3.26)
_AKA = "Digest-AKAv1-MD5"  # TS 33.203 annex H
_AKA_ASKED_FOR = frozenset((_AKA, "unknown", ""))  # "unknown": Kamailio lets the HSS choose
_RAND_OCTETS = 16


def _reply(event: Received, message: Message) -> list[Output]:
    return [Send(event.interface, event.peer, message, reply_to=event.transaction)]


def _refused(state: HssState, asked: Message) -> tuple[Subscriber | None, Message | None]:
    """The subscriber of Public-Identity and User-Name, or the refusal that is due."""
    public, private = asked.value_of(avp.PUBLIC_IDENTITY), asked.value_of(avp.USER_NAME)
    subscriber = state.register.find(public)
    if subscriber is None:
        return None, experimental(state, asked, CxResult.ERROR_USER_UNKNOWN)
    if private is not None and private != subscriber.impi:
        return None, experimental(state, asked, CxResult.ERROR_IDENTITIES_DONT_MATCH)
    return subscriber, None


def authorise(state: HssState, event: Received, asked: Message) -> list[Output]:
    """UAR: may he register, and where? (clause 6.1.1)"""
    subscriber, refusal = _refused(state, asked)
    if subscriber is None:
        return _reply(event, refusal or say(state, asked))
    if asked.value_of(avp.USER_AUTHORIZATION_TYPE) == _DEREGISTRATION and not subscriber.scscf:
        return _reply(event, experimental(state, asked, CxResult.ERROR_IDENTITY_NOT_REGISTERED))
    if subscriber.scscf:
        name = avp.SERVER_NAME(subscriber.scscf)
        return _reply(event, experimental(state, asked, CxResult.SUBSEQUENT_REGISTRATION, name))
    capabilities = avp.SERVER_CAPABILITIES(avp.SERVER_NAME(state.scscf)) if state.scscf else None
    return _reply(event, experimental(state, asked, CxResult.FIRST_REGISTRATION, capabilities))


def authenticate(state: HssState, event: Received, asked: Message) -> list[Output]:
    """MAR: an AKA vector; a failed synchronisation is repaired first (clause 6.3)."""
    subscriber, refusal = _refused(state, asked)
    if subscriber is None:
        return _reply(event, refusal or say(state, asked))
    item = asked.find(avp.SIP_AUTH_DATA_ITEM)
    scheme = (item.value_of(avp.SIP_AUTHENTICATION_SCHEME) if item is not None else None) or ""
    if scheme not in _AKA_ASKED_FOR:
        return _reply(event, experimental(state, asked, CxResult.ERROR_AUTH_SCHEME_NOT_SUPPORTED))
    failed = item.value_of(avp.SIP_AUTHORIZATION) if item is not None else None
    if failed is not None and not resynchronise(subscriber, failed[:_RAND_OCTETS], failed[_RAND_OCTETS:]):
        return _reply(event, say(state, asked, avp.RESULT_CODE(ResultCode.UNABLE_TO_COMPLY)))
    subscriber.scscf = asked.value_of(avp.SERVER_NAME) or subscriber.scscf
    if subscriber.ims_state is ImsState.NOT_REGISTERED:
        subscriber.ims_state = ImsState.PENDING
    granted = [
        avp.USER_NAME(subscriber.impi),
        avp.PUBLIC_IDENTITY(asked.value_of(avp.PUBLIC_IDENTITY) or subscriber.impus[0]),
        avp.SIP_NUMBER_AUTH_ITEMS(1),
        _auth_item(state, subscriber),
    ]
    return _reply(event, accept(state, asked, *granted))


def _auth_item(state: HssState, subscriber: Subscriber) -> Avp:
    vector = next_vector(subscriber, state.random, for_eps=False)
    return avp.SIP_AUTH_DATA_ITEM(
        avp.SIP_ITEM_NUMBER(1),
        avp.SIP_AUTHENTICATION_SCHEME(_AKA),
        avp.SIP_AUTHENTICATE(vector.rand + vector.autn),
        avp.SIP_AUTHORIZATION(vector.xres),
        avp.CONFIDENTIALITY_KEY(vector.ck),
        avp.INTEGRITY_KEY(vector.ik),
    )


def assign(state: HssState, event: Received, asked: Message) -> list[Output]:
    """SAR: an S-CSCF serves him from now on, or no longer (clause 6.1.2)."""
    subscriber, refusal = _refused(state, asked)
    if subscriber is None:
        return _reply(event, refusal or say(state, asked))
    kind = asked.value_of(avp.SERVER_ASSIGNMENT_TYPE)
    if kind is None or kind not in _NEXT_STATE:
        return _reply(event, experimental(state, asked, CxResult.ERROR_IN_ASSIGNMENT_TYPE))
    subscriber.ims_state = _NEXT_STATE[kind] or subscriber.ims_state
    name = asked.value_of(avp.SERVER_NAME) or subscriber.scscf
    subscriber.scscf = "" if subscriber.ims_state is ImsState.NOT_REGISTERED else name
    has_profile = asked.value_of(avp.USER_DATA_ALREADY_AVAILABLE) == _ALREADY_AVAILABLE
    profile: list[Avp] = []
    if kind in _WITH_PROFILE and not has_profile:
        profile.append(avp.USER_DATA(user_profile(subscriber)))
        if state.charging_function:
            function = avp.PRIMARY_CHARGING_COLLECTION_FUNCTION_NAME(state.charging_function)
            profile.append(avp.CHARGING_INFORMATION(function))
    return _reply(event, accept(state, asked, avp.USER_NAME(subscriber.impi), *profile))


def locate(state: HssState, event: Received, asked: Message) -> list[Output]:
    """LIR: which S-CSCF serves a called party? (clause 6.1.4)"""
    subscriber, refusal = _refused(state, asked)
    if subscriber is None:
        return _reply(event, refusal or say(state, asked))
    if subscriber.ims_state in (ImsState.REGISTERED, ImsState.UNREGISTERED) and subscriber.scscf:
        return _reply(event, accept(state, asked, avp.SERVER_NAME(subscriber.scscf)))
    return _reply(event, experimental(state, asked, CxResult.ERROR_IDENTITY_NOT_REGISTERED))
