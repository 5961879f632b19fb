"""S6a: authentication, location and its end (TS 29.272 clauses 5.2.1 to 5.2.5)."""

from __future__ import annotations

from ferret.protocols.diameter import Application, Avp, Command, Message, ResultCode, avp, request
from ferret.protocols.diameter.constants import S6aResult
from ferret.records.message import Interface
from ferret_core.hss.state import HssState, accept, application, experimental, say
from ferret_core.hss.subscription import ApnConfiguration, BitRate, Subscriber
from ferret_core.hss.vectors import Vector, k_asme, next_vector, resynchronise
from ferret_core.nf import Output, Peer, Received, Send

_MAX_VECTORS = 5  # TS 29.272 clause 5.2.3.1.3 leaves the number to the HSS
_SKIP_SUBSCRIBER_DATA = 4  # ULR-Flags bit 2 (clause 7.3.7)
_SEPARATION_INDICATION = 1  # ULA-Flags bit 0 (clause 7.3.8)
_FREEZE_M_TMSI = 1  # PUA-Flags bit 0 (clause 7.3.48)
_MME_UPDATE_PROCEDURE = 0  # Cancellation-Type (clause 7.3.24)
_SERVICE_GRANTED = 0  # Subscriber-Status (clause 7.3.29)
_ALL_APNS_INCLUDED = 0  # clause 7.3.33
_DYNAMIC_ADDRESS_IN_VPLMN_ALLOWED = 1  # clause 7.3.38
_NO_STATE_MAINTAINED = 1


def _reply(event: Received, message: Message) -> Send:
    return Send(event.interface, event.peer, message, reply_to=event.transaction)


def _unknown(state: HssState, event: Received, asked: Message) -> list[Output]:
    return [_reply(event, experimental(state, asked, S6aResult.ERROR_USER_UNKNOWN))]


def authenticate(state: HssState, event: Received, asked: Message) -> list[Output]:
    """AIR: E-UTRAN vectors; a failed synchronisation is repaired first."""
    subscriber = state.register.find(asked.value_of(avp.USER_NAME))
    if subscriber is None:
        return _unknown(state, event, asked)
    wanted = asked.find(avp.REQUESTED_EUTRAN_AUTHENTICATION_INFO)
    plmn = asked.value_of(avp.VISITED_PLMN_ID)
    if wanted is None or plmn is None or len(plmn) != 3:
        return [_reply(event, say(state, asked, avp.RESULT_CODE(ResultCode.MISSING_AVP)))]
    failed = wanted.value_of(avp.RE_SYNCHRONIZATION_INFO)
    if failed is not None and not resynchronise(subscriber, failed[:16], failed[16:]):
        return [_reply(event, experimental(state, asked, S6aResult.AUTHENTICATION_DATA_UNAVAILABLE))]
    count = min(max(wanted.value_of(avp.NUMBER_OF_REQUESTED_VECTORS) or 1, 1), _MAX_VECTORS)
    vectors = [next_vector(subscriber, state.random, for_eps=True) for _ in range(count)]
    numbered = [_e_utran(vector, plmn, number if count > 1 else 0) for number, vector in enumerate(vectors, 1)]
    return [_reply(event, accept(state, asked, avp.AUTHENTICATION_INFO(*numbered)))]


def _e_utran(vector: Vector, plmn: bytes, number: int) -> Avp:
    return avp.E_UTRAN_VECTOR(
        avp.ITEM_NUMBER(number) if number else None,
        avp.RAND(vector.rand),
        avp.XRES(vector.xres),
        avp.AUTN(vector.autn),
        avp.KASME(k_asme(vector, plmn)),
    )


def update_location(state: HssState, event: Received, asked: Message) -> list[Output]:
    """ULR: the subscriber is at this MME now, and no longer at the last one."""
    subscriber = state.register.find(asked.value_of(avp.USER_NAME))
    if subscriber is None:
        return _unknown(state, event, asked)
    if not subscriber.apns:
        return [_reply(event, experimental(state, asked, S6aResult.ERROR_UNKNOWN_EPS_SUBSCRIPTION))]
    here = event.peer, asked.value_of(avp.ORIGIN_HOST) or "", asked.value_of(avp.ORIGIN_REALM) or ""
    outputs: list[Output] = []
    if subscriber.mme is not None and subscriber.mme[1] != here[1] and not subscriber.purged:
        outputs.append(_cancel(state, subscriber, subscriber.mme))
    subscriber.mme, subscriber.purged = here, False
    skipped = (asked.value_of(avp.ULR_FLAGS) or 0) & _SKIP_SUBSCRIBER_DATA
    data = None if skipped else subscription_data(subscriber)
    return [*outputs, _reply(event, accept(state, asked, avp.ULA_FLAGS(_SEPARATION_INDICATION), data))]


def _cancel(state: HssState, subscriber: Subscriber, mme: tuple[Peer, str, str]) -> Send:
    peer, host, realm = mme
    message = request(
        Command.CANCEL_LOCATION,
        Application.S6A,
        avp.SESSION_ID(f"{state.host};{state.tokens};{state.random.getrandbits(32)};cancel"),
        application(Application.S6A),
        avp.AUTH_SESSION_STATE(_NO_STATE_MAINTAINED),
        avp.ORIGIN_HOST(state.host),
        avp.ORIGIN_REALM(state.realm),
        avp.DESTINATION_HOST(host),
        avp.DESTINATION_REALM(realm),
        avp.USER_NAME(subscriber.imsi),
        avp.CANCELLATION_TYPE(_MME_UPDATE_PROCEDURE),
    )
    return Send(Interface.S6A, peer, message, token=state.token())


def purge(state: HssState, event: Received, asked: Message) -> list[Output]:
    """PUR: the MME has deleted the subscriber (clause 5.2.1.3)."""
    subscriber = state.register.find(asked.value_of(avp.USER_NAME))
    if subscriber is None:
        return _unknown(state, event, asked)
    is_here = subscriber.mme is not None and subscriber.mme[1] == asked.value_of(avp.ORIGIN_HOST)
    subscriber.purged = subscriber.purged or is_here
    flags = avp.PUA_FLAGS(_FREEZE_M_TMSI) if is_here else None
    return [_reply(event, accept(state, asked, flags))]


def notify(state: HssState, event: Received, asked: Message) -> list[Output]:
    """NOR: noted (clause 5.2.5.1)."""
    if state.register.find(asked.value_of(avp.USER_NAME)) is None:
        return _unknown(state, event, asked)
    return [_reply(event, accept(state, asked))]


def subscription_data(subscriber: Subscriber) -> Avp:
    """Subscription-Data (clause 7.3.2)."""
    apns = [_apn(number, one) for number, one in enumerate(subscriber.apns, start=1)]
    return avp.SUBSCRIPTION_DATA(
        avp.MSISDN(tbcd(subscriber.msisdn)) if subscriber.msisdn else None,
        avp.ACCESS_RESTRICTION_DATA(subscriber.access_restriction),
        avp.SUBSCRIBER_STATUS(_SERVICE_GRANTED),
        avp.NETWORK_ACCESS_MODE(subscriber.network_access_mode),
        _ambr(subscriber.ambr),
        avp.SUBSCRIBED_PERIODIC_RAU_TAU_TIMER(subscriber.periodic_tau_seconds),
        avp.APN_CONFIGURATION_PROFILE(
            avp.CONTEXT_IDENTIFIER(1), avp.ALL_APN_CONFIGURATIONS_INCLUDED_INDICATOR(_ALL_APNS_INCLUDED), *apns
        ),
    )


def _apn(number: int, one: ApnConfiguration) -> Avp:
    return avp.APN_CONFIGURATION(
        avp.CONTEXT_IDENTIFIER(number),
        avp.SERVED_PARTY_IP_ADDRESS(one.address) if one.address else None,
        avp.PDN_TYPE(one.pdn_type),
        avp.SERVICE_SELECTION(one.apn),
        avp.EPS_SUBSCRIBED_QOS_PROFILE(
            avp.QOS_CLASS_IDENTIFIER(one.qci),
            avp.ALLOCATION_RETENTION_PRIORITY(
                avp.PRIORITY_LEVEL(one.priority_level),
                avp.PRE_EMPTION_CAPABILITY(one.pre_emption_capability),
                avp.PRE_EMPTION_VULNERABILITY(one.pre_emption_vulnerability),
            ),
        ),
        avp.VPLMN_DYNAMIC_ADDRESS_ALLOWED(_DYNAMIC_ADDRESS_IN_VPLMN_ALLOWED),
        _ambr(one.ambr),
    )


def _ambr(rate: BitRate) -> Avp:
    return avp.AMBR(avp.MAX_REQUESTED_BANDWIDTH_UL(rate.ul), avp.MAX_REQUESTED_BANDWIDTH_DL(rate.dl))


def tbcd(digits: str) -> bytes:
    """Digits as TBCD (TS 29.002 clause 17.7.8), an odd number of them filled up with 0xf."""
    padded = digits if len(digits) % 2 == 0 else digits + "f"
    return bytes(int(padded[at + 1] + padded[at], 16) for at in range(0, len(padded), 2))
