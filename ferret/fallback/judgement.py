"""Whether a recorded call may be moved at all, and whether what the edge made of it is good enough."""

from __future__ import annotations

from typing import Final

from ferret.errors import DecodeError
from ferret.protocols import sip
from ferret.records.message import SignallingMessage
from ferret.records.recording import Recording
from ferret.replay.verdict import RecordingResult

_EMERGENCY: Final = "urn:service:sos"  # and its sub-services, "urn:service:sos.fire" (RFC 5031 clause 4.2)


def why_not_eligible(recording: Recording) -> str:
    """Why a call is left on the core whatever the operator says; "" if it need not be."""
    if recording.holes:
        return f"the recording has a hole: {recording.holes[0].what}"
    if any(map(_is_for_emergency, recording.messages)):
        return "an emergency call is never touched"
    return ""


def _is_for_emergency(message: SignallingMessage) -> bool:
    if message.name != "INVITE":
        return False
    try:
        return sip.decode(message.octets).request_uri.lower().startswith(_EMERGENCY)
    except DecodeError:
        return False


def why_not_accepted(result: RecordingResult, *, moves: bool = False) -> str:
    """Why a call must not go on where its recording was replayed with this result; "" if it may.

    `moves`: the replay was to move base station and device as well.
    """
    if result.abandoned:
        return f"the replay was abandoned: {result.abandoned}"
    if result.unacknowledged:
        return f"the edge acknowledged {result.acknowledged} messages, and {result.unacknowledged} not"
    for message in result.messages:
        if message.high_risk:
            return f"the edge made another {message.step.message.name} than the core: {message.high_risk} differences"
    return f"not moved: {result.not_reconfigured}" if moves and not result.reconfigured else ""
