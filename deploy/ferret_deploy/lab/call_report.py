"""What `ferret lab call` says of a live call."""

from __future__ import annotations

from typing import Any

import click

from ferret.replay.verdict import Verdict
from ferret_deploy.lab.live_call import LiveCall


def is_as_it_should_be(call: LiveCall) -> bool:
    """Nothing lost of the signalling, nothing left over in the core, and the edge did as recorded."""
    recorded = all(one.messages == one.queued and not one.kernel_dropped for one in call.accounts)
    same = call.replayed is not None and call.replayed.verdict is Verdict.SAME and call.replayed.reconfigured
    return recorded and same and not call.leftovers


def as_json_of(call: LiveCall) -> dict[str, Any]:
    """The object of `--json`; times in milliseconds, null where something was not measured."""
    return {
        "attach_ms": _ms(call.attach),
        "registration_ms": _ms(call.registration),
        "setup_core_ms": _ms(call.setup),
        **(call.voice.as_json() if call.voice is not None else {}),
        "agents": len(call.accounts),
        "messages_recorded": len(call.capture.messages) if call.capture is not None else 0,
        "messages_dropped": sum(sum(one.dropped.values()) + one.kernel_dropped for one in call.accounts),
        "recordings": [one.id for one in call.capture.recordings] if call.capture is not None else [],
        "left_over": call.leftovers or {},
        "replay": call.replayed.as_json() if call.replayed is not None else None,
    }


def print_call(call: LiveCall) -> None:
    """For people."""
    if call.voice is not None:
        found = call.voice.as_json()
        delay: Any = found["voice_delay_core_ms"]
        click.echo(
            f"Voice over the core: one-way delay p50 {delay['p50']} ms, p99 {delay['p99']} ms; "
            f"{call.voice.received} of {call.voice.sent} packets arrived."
        )
    if call.capture is not None:
        seen = sum(one.messages for one in call.accounts)
        queued = sum(one.queued for one in call.accounts)
        click.echo(
            f"{len(call.accounts)} agents saw {seen} messages, {queued} went into the queue: "
            f"{len(call.capture.messages)} different ones, {len(call.capture.recordings)} recordings."
        )
    click.echo(f"Left over in the core: {call.leftovers}" if call.leftovers else "Nothing is left over in the core.")
    for one in call.replayed.recordings if call.replayed is not None else ():
        moved = (
            f"the replay's device moved to the edge after {one.fallback_ms:.0f} ms"
            if one.reconfigured
            else f"not moved: {one.not_reconfigured}"
        )
        click.echo(f"Replay of the {one.plan.service} recording: {one.verdict}, {one.compared} compared; {moved}.")


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)
