"""The state machine of a call, whole: which handler takes what in which state. What is not here does not happen."""

from __future__ import annotations

from ferret_core.ua import in_dialog, incoming, outgoing
from ferret_core.ua.call import TABLE
from ferret_core.ua.states import CallEvent, CallState

_S, _E = CallState, CallEvent
_EARLY = (_S.PROGRESSING, _S.RINGING)
_RECEIVED = (_S.OFFERED, _S.ALERTING)
_CONFIRMED = (_S.ESTABLISHED, _S.MODIFYING)

TABLE.update(
    {
        # A caller.
        (_S.CALLING, _E.PROVISIONAL): outgoing.provisional,
        (_S.CALLING, _E.RINGING): outgoing.ringing,
        (_S.CALLING, _E.SUCCESS): outgoing.accepted,
        (_S.CALLING, _E.FAILURE): outgoing.refused,
        (_S.CALLING, _E.HANG_UP): outgoing.give_up,
        (_S.CALLING, _E.RANG_TOO_LONG): outgoing.rang_too_long,
        (_S.CALLING, _E.RESOURCES_READY): outgoing.resources_ready,
        **{(state, _E.PROVISIONAL): outgoing.provisional for state in _EARLY},
        **{(state, _E.RINGING): outgoing.ringing for state in _EARLY},
        **{(state, _E.SUCCESS): outgoing.accepted for state in _EARLY},
        **{(state, _E.FAILURE): outgoing.refused for state in _EARLY},
        **{(state, _E.PRACK_ANSWERED): outgoing.pracked for state in _EARLY},
        **{(state, _E.UPDATE_ANSWERED): in_dialog.update_answered for state in (*_EARLY, *_CONFIRMED)},
        **{(state, _E.RESOURCES_READY): outgoing.resources_ready for state in _EARLY},
        **{(state, _E.UPDATE): in_dialog.updated for state in _EARLY},
        **{(state, _E.HANG_UP): outgoing.give_up for state in _EARLY},
        **{(state, _E.RANG_TOO_LONG): outgoing.rang_too_long for state in _EARLY},
        **{(state, _E.BYE): in_dialog.hung_up for state in _EARLY},
        (_S.CANCELLING, _E.PROVISIONAL): outgoing.may_be_cancelled,
        (_S.CANCELLING, _E.RINGING): outgoing.may_be_cancelled,
        (_S.CANCELLING, _E.SUCCESS): outgoing.accepted_too_late,
        (_S.CANCELLING, _E.FAILURE): outgoing.refused_after_cancel,
        (_S.CANCELLING, _E.PRACK_ANSWERED): in_dialog.nothing,
        (_S.CANCELLING, _E.UPDATE_ANSWERED): in_dialog.nothing,
        (_S.CANCELLING, _E.RESOURCES_READY): in_dialog.nothing,
        (_S.CANCELLING, _E.BYE): in_dialog.hung_up,
        (_S.CANCELLING, _E.UPDATE): in_dialog.declined,
        # A called party.
        **{(state, _E.PRACK): incoming.pracked for state in (*_RECEIVED, _S.ANSWERED)},
        **{(state, _E.UPDATE): incoming.updated for state in _RECEIVED},
        **{(state, _E.RESOURCES_READY): incoming.resources_ready for state in (*_RECEIVED, _S.ANSWERED)},
        **{(state, _E.CANCEL): incoming.cancelled for state in _RECEIVED},
        **{(state, _E.BYE): incoming.bye for state in _RECEIVED},
        **{(state, _E.HANG_UP): incoming.decline for state in _RECEIVED},
        **{
            (state, _E.CANCEL): incoming.cancelled_too_late
            for state in (_S.ANSWERED, _S.ESTABLISHED, _S.MODIFYING, _S.ENDING)
        },
        (_S.OFFERED, _E.UNACKNOWLEDGED): incoming.not_pracked,
        (_S.ALERTING, _E.ANSWER): incoming.pick_up,
        (_S.ALERTING, _E.RANG_TOO_LONG): incoming.rang_too_long,
        (_S.ANSWERED, _E.ACK): incoming.acknowledged,
        (_S.ANSWERED, _E.BYE): in_dialog.hung_up,
        (_S.ANSWERED, _E.HANG_UP): incoming.hang_up_later,
        (_S.ANSWERED, _E.UPDATE): in_dialog.updated,
        (_S.ANSWERED, _E.UNACKNOWLEDGED): in_dialog.not_acknowledged,
        # Both.
        (_S.ESTABLISHED, _E.HOLD): in_dialog.hold,
        (_S.ESTABLISHED, _E.RESUME): in_dialog.resume,
        (_S.ESTABLISHED, _E.INVITE): in_dialog.reinvited,
        (_S.ESTABLISHED, _E.UPDATE): in_dialog.updated,
        (_S.MODIFYING, _E.SUCCESS): in_dialog.modified,
        (_S.MODIFYING, _E.FAILURE): in_dialog.not_modified,
        (_S.MODIFYING, _E.PROVISIONAL): in_dialog.nothing,
        (_S.MODIFYING, _E.RINGING): in_dialog.nothing,
        (_S.MODIFYING, _E.INVITE): in_dialog.crossed,
        (_S.MODIFYING, _E.UPDATE): in_dialog.crossed,
        **{(state, _E.ACK): in_dialog.acknowledged for state in _CONFIRMED},
        **{(state, _E.PRACK_ANSWERED): in_dialog.nothing for state in _CONFIRMED},
        **{(state, _E.RESOURCES_READY): in_dialog.nothing for state in _CONFIRMED},
        **{(state, _E.HANG_UP): in_dialog.hang_up for state in _CONFIRMED},
        **{(state, _E.BYE): in_dialog.hung_up for state in (*_CONFIRMED, _S.ENDING)},
        **{(state, _E.UNACKNOWLEDGED): in_dialog.not_acknowledged for state in _CONFIRMED},
        (_S.ENDING, _E.BYE_ANSWERED): in_dialog.bye_answered,
        (_S.ENDING, _E.SUCCESS): in_dialog.answered_while_ending,
        (_S.ENDING, _E.FAILURE): in_dialog.nothing,
        (_S.ENDING, _E.PROVISIONAL): in_dialog.nothing,
        (_S.ENDING, _E.RINGING): in_dialog.nothing,
        (_S.ENDING, _E.ACK): in_dialog.nothing,
        (_S.ENDING, _E.UPDATE_ANSWERED): in_dialog.nothing,
        (_S.ENDING, _E.INVITE): in_dialog.declined,
        (_S.ENDING, _E.UPDATE): in_dialog.declined,
        (_S.ENDING, _E.RESOURCES_READY): in_dialog.nothing,
        (_S.ENDING, _E.HANG_UP): in_dialog.nothing,
    }
)
