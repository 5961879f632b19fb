"""What the PCRF says on Gx and what is answered to it (TS 29.212 clauses 4.5.1, 5.6.3 and 5.6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferret.errors import DecodeError
from ferret.protocols import diameter, gtpv2
from ferret.protocols.diameter import Application, avp
from ferret.protocols.gtpv2 import Ambr, BearerQos, Cause
from ferret_core.pgw.rules import arp_of

if TYPE_CHECKING:
    from ferret_core.pgw.nf import Pgw


def re_auth_answer(pgw: Pgw, asked: diameter.Message, result: int) -> diameter.Message:
    """RAA (clause 5.6.5)."""
    return diameter.answer(
        asked,
        avp.AUTH_APPLICATION_ID(Application.GX),
        avp.ORIGIN_HOST(pgw.configuration.origin_host),
        avp.ORIGIN_REALM(pgw.configuration.origin_realm),
        avp.RESULT_CODE(result),
    )


# The Cause that a Result-Code becomes. Any other refusal is "reason not specified".
_CAUSES = {
    3002: Cause.REMOTE_PEER_NOT_RESPONDING,  # DIAMETER_UNABLE_TO_DELIVER
    3004: Cause.NO_RESOURCES_AVAILABLE,  # DIAMETER_TOO_BUSY
    4001: Cause.USER_AUTHENTICATION_FAILED,
    5003: Cause.APN_ACCESS_DENIED_NO_SUBSCRIPTION,  # DIAMETER_AUTHORIZATION_REJECTED
    5012: Cause.SYSTEM_FAILURE,  # DIAMETER_UNABLE_TO_COMPLY
    5030: Cause.APN_ACCESS_DENIED_NO_SUBSCRIPTION,  # DIAMETER_USER_UNKNOWN (RFC 8506 clause 9.2)
}


def refusal_of(answer: diameter.Message | None) -> Cause | None:
    """None where a CCA accepts (2xxx); else the Cause for the SGW. No answer: the remote peer is silent."""
    if answer is None:
        return Cause.REMOTE_PEER_NOT_RESPONDING
    try:
        result = answer.value_of(avp.RESULT_CODE)
        experimental = answer.find(avp.EXPERIMENTAL_RESULT)
        if result is None and experimental is not None:
            result = experimental.value_of(avp.EXPERIMENTAL_RESULT_CODE)
    except DecodeError:
        result = None
    if result is None:
        return Cause.INVALID_REPLY_FROM_REMOTE_PEER
    return None if result // 1000 == 2 else _CAUSES.get(result, Cause.REQUEST_REJECTED_REASON_NOT_SPECIFIED)


def authorised_ambr(answer: diameter.Message, kilobit: int) -> Ambr | None:
    """The APN-AMBR that a CCA or RAR authorises, in kbit/s. Raises DecodeError."""
    for information in answer.all(avp.QOS_INFORMATION):
        uplink = information.value_of(avp.APN_AGGREGATE_MAX_BITRATE_UL)
        downlink = information.value_of(avp.APN_AGGREGATE_MAX_BITRATE_DL)
        if uplink is not None and downlink is not None:
            return Ambr(uplink // kilobit, downlink // kilobit)
    return None


def authorised_qos(answer: diameter.Message) -> gtpv2.BearerQos | None:
    """The default bearer's QoS that a CCA or RAR authorises. Raises DecodeError."""
    found = answer.find(avp.DEFAULT_EPS_BEARER_QOS)
    if found is None:
        return None
    qci = found.value_of(avp.QOS_CLASS_IDENTIFIER)
    level, capability, vulnerability = arp_of(found.find(avp.ALLOCATION_RETENTION_PRIORITY))
    if qci is None or level is None:
        return None
    if qci > 255:
        raise DecodeError(f"QoS-Class-Identifier {qci} is above 255")
    return BearerQos(qci, level, capability, vulnerability)
