"""The states of a call and of a registration, and what happens to them."""

from __future__ import annotations

from enum import StrEnum


class CallState(StrEnum):
    """Where a call stands for us. The first four are a caller's, the next three a called party's."""

    CALLING = "calling"  # INVITE sent, no dialog yet
    PROGRESSING = "progressing"  # early dialog; resources are being reserved
    RINGING = "ringing"
    CANCELLING = "cancelling"
    OFFERED = "offered"  # INVITE received; resources are being reserved
    ALERTING = "alerting"  # 180 sent
    ANSWERED = "answered"  # 200 sent, no ACK yet
    ESTABLISHED = "established"
    MODIFYING = "modifying"  # our re-INVITE is under way
    ENDING = "ending"  # our BYE is under way
    ENDED = "ended"


class CallEvent(StrEnum):
    """What happens to a call."""

    PROVISIONAL = "101 to 199 to our INVITE, but not 180"
    RINGING = "180 to our INVITE"
    SUCCESS = "2xx to our INVITE"
    FAILURE = "300 to 699 to our INVITE, or nothing at all"
    PRACK_ANSWERED = "answer to our PRACK"
    UPDATE_ANSWERED = "answer to our UPDATE"
    BYE_ANSWERED = "answer to our BYE"
    ACK = "ACK"
    PRACK = "PRACK"
    UPDATE = "UPDATE"
    INVITE = "INVITE inside the dialog"
    BYE = "BYE"
    CANCEL = "CANCEL"
    ANSWER = "order to answer"
    HOLD = "order to hold"
    RESUME = "order to resume"
    HANG_UP = "order to hang up"
    RESOURCES_READY = "resources are reserved"
    RANG_TOO_LONG = "it rang too long"
    UNACKNOWLEDGED = "an answer of ours was never acknowledged"


class RegistrationState(StrEnum):
    """Where our registration stands (TS 24.229 clause 5.1.1)."""

    NOT_REGISTERED = "not registered"
    REGISTERING = "registering"  # first REGISTER sent
    AUTHENTICATING = "authenticating"  # REGISTER with the answer to the challenge sent
    REGISTERED = "registered"
    REFRESHING = "refreshing"
    LEAVING = "leaving"  # REGISTER that takes us away sent


class RegistrationEvent(StrEnum):
    """What happens to a registration."""

    REGISTER = "order to register"
    DEREGISTER = "order to leave"
    CHALLENGED = "401"
    ACCEPTED = "2xx"
    REFUSED = "any other final answer, or none"
    DUE = "it is time to refresh"
    TAKEN_AWAY = "the network says that we are not registered any more"


class WatchState(StrEnum):
    """Where our subscription to our own registration state stands (TS 24.229 clause 5.1.1.3)."""

    NONE = "none"
    SUBSCRIBING = "subscribing"
    ACTIVE = "active"


class WatchEvent(StrEnum):
    """What happens to that subscription."""

    REGISTERED = "we are registered"
    ACCEPTED = "2xx to SUBSCRIBE"
    REFUSED = "any other final answer, or none"
    NOTIFIED = "NOTIFY: we are registered"
    ENDED = "NOTIFY: it is over"
    LEFT = "we are not registered any more"
    DUE = "it is time to refresh"
