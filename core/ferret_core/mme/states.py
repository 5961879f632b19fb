"""States of a UE and of its bearers at the MME (TS 24.301 clauses 5.1.3.4 and 6.1.3.3, TS 23.401 clause 4.6)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from ferret.errors import PeerViolationError


class EmmState(StrEnum):
    """Where a UE stands. EMM-COMMON-PROCEDURE-INITIATED of TS 24.301 is split by what the MME waits for."""

    DEREGISTERED = "EMM-DEREGISTERED"
    IDENTIFYING = "waiting for Identity response"
    FETCHING_VECTOR = "waiting for Authentication-Information-Answer"
    AUTHENTICATING = "waiting for Authentication response"
    SECURING = "waiting for Security mode complete"
    LOCATING = "waiting for Update-Location-Answer"
    ASKING_ESM = "waiting for ESM information response"
    CREATING_SESSION = "waiting for Create Session Response"
    ATTACHING = "waiting for Attach complete"
    REGISTERED = "EMM-REGISTERED"
    DETACHING = "EMM-DEREGISTERED-INITIATED"


class EmmEvent(StrEnum):
    """What can happen to a UE: a NAS message of its own, or an answer that the MME has waited for."""

    ATTACH_REQUEST = "Attach request"
    IDENTITY_RESPONSE = "Identity response"
    VECTOR_RECEIVED = "authentication vector received"
    AUTHENTICATION_RESPONSE = "Authentication response"
    AUTHENTICATION_FAILURE = "Authentication failure"
    SECURITY_MODE_COMPLETE = "Security mode complete"
    SECURITY_MODE_REJECT = "Security mode reject"
    LOCATION_UPDATED = "location updated"
    ESM_INFORMATION_RESPONSE = "ESM information response"
    SESSION_CREATED = "session created"
    ATTACH_COMPLETE = "Attach complete"
    SERVICE_REQUEST = "Service request"
    EXTENDED_SERVICE_REQUEST = "Extended service request"
    TRACKING_AREA_UPDATE_REQUEST = "Tracking area update request"
    TRACKING_AREA_UPDATE_COMPLETE = "Tracking area update complete"
    DETACH_REQUEST = "Detach request"
    DETACH_ACCEPT = "Detach accept"
    PDN_CONNECTIVITY_REQUEST = "PDN connectivity request"
    PDN_DISCONNECT_REQUEST = "PDN disconnect request"
    ESM_ANSWER = "answer to an ESM request of the network"
    STATUS = "EMM or ESM status"


class EcmState(StrEnum):
    """Whether a UE has a signalling connection (TS 23.401 clause 4.6.3)."""

    IDLE = "ECM-IDLE"
    CONNECTED = "ECM-CONNECTED"


class BearerState(StrEnum):
    """An EPS bearer context at the network (TS 24.301 clause 6.1.3.3)."""

    INACTIVE = "BEARER CONTEXT INACTIVE"
    ACTIVE_PENDING = "BEARER CONTEXT ACTIVE PENDING"
    ACTIVE = "BEARER CONTEXT ACTIVE"
    MODIFY_PENDING = "BEARER CONTEXT MODIFY PENDING"
    INACTIVE_PENDING = "BEARER CONTEXT INACTIVE PENDING"


class BearerEvent(StrEnum):
    """What the network does to a bearer context, and what the UE answers."""

    ACTIVATE = "activate"
    ACTIVATE_ACCEPT = "activate accept"
    ACTIVATE_REJECT = "activate reject"
    MODIFY = "modify"
    MODIFY_ACCEPT = "modify accept"
    MODIFY_REJECT = "modify reject"
    DEACTIVATE = "deactivate"
    DEACTIVATE_ACCEPT = "deactivate accept"


_S, _E = BearerState, BearerEvent
BEARER_TABLE: Final[dict[tuple[BearerState, BearerEvent], BearerState]] = {
    (_S.INACTIVE, _E.ACTIVATE): _S.ACTIVE_PENDING,
    (_S.ACTIVE_PENDING, _E.ACTIVATE): _S.ACTIVE_PENDING,  # sent again
    (_S.ACTIVE_PENDING, _E.ACTIVATE_ACCEPT): _S.ACTIVE,
    (_S.ACTIVE_PENDING, _E.ACTIVATE_REJECT): _S.INACTIVE,
    (_S.ACTIVE_PENDING, _E.DEACTIVATE): _S.INACTIVE_PENDING,
    (_S.ACTIVE_PENDING, _E.MODIFY_ACCEPT): _S.ACTIVE,  # a bearer that the device already has is only modified
    (_S.ACTIVE_PENDING, _E.MODIFY_REJECT): _S.INACTIVE,
    (_S.ACTIVE, _E.ACTIVATE_ACCEPT): _S.ACTIVE,  # a repeated answer
    (_S.ACTIVE, _E.MODIFY): _S.MODIFY_PENDING,
    (_S.ACTIVE, _E.DEACTIVATE): _S.INACTIVE_PENDING,
    (_S.MODIFY_PENDING, _E.MODIFY): _S.MODIFY_PENDING,
    (_S.MODIFY_PENDING, _E.MODIFY_ACCEPT): _S.ACTIVE,
    (_S.MODIFY_PENDING, _E.MODIFY_REJECT): _S.ACTIVE,
    (_S.MODIFY_PENDING, _E.DEACTIVATE): _S.INACTIVE_PENDING,
    (_S.INACTIVE_PENDING, _E.DEACTIVATE): _S.INACTIVE_PENDING,
    (_S.INACTIVE_PENDING, _E.DEACTIVATE_ACCEPT): _S.INACTIVE,
    # The UE's answer to what the deactivation overtook.
    (_S.INACTIVE_PENDING, _E.ACTIVATE_ACCEPT): _S.INACTIVE_PENDING,
    (_S.INACTIVE_PENDING, _E.ACTIVATE_REJECT): _S.INACTIVE_PENDING,
    (_S.INACTIVE_PENDING, _E.MODIFY_ACCEPT): _S.INACTIVE_PENDING,
    (_S.INACTIVE_PENDING, _E.MODIFY_REJECT): _S.INACTIVE_PENDING,
}


def next_bearer_state(state: BearerState, event: BearerEvent) -> BearerState:
    """The state that follows. Raises PeerViolationError where TS 24.301 has none."""
    after = BEARER_TABLE.get((state, event))
    if after is None:
        raise PeerViolationError(f"{event} is not expected in {state}")
    return after
