"""What `ferret demo` says of its calls: a line or two, JSON, and a page with ladder and plots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from html import escape
from typing import Any

from ferret.fallback.states import TO_THE_EDGE, State
from ferret.ladder import html_page, ladder_of
from ferret.records.message import SignallingMessage
from ferret.replay.plan import KEEP_ALIVES
from ferret_deploy.lab.live_call import Demonstration, LiveCall
from ferret_deploy.lab.plots import call_setup_cdf, voice_delay_cdf
from ferret_deploy.lab.voice_figures import percentile


def is_as_it_should_be(shown: Demonstration) -> bool:
    """Every call was moved and came back, nothing of the signalling was lost, nothing is left over in the core."""
    recorded = all(one.messages == one.queued and not one.kernel_dropped for one in shown.accounts)
    return recorded and not shown.failed and not shown.leftovers


def as_json(shown: Demonstration) -> dict[str, Any]:
    """The object of `--json`; times in milliseconds, null where something was not measured."""
    return {
        "calls": len(shown.calls),
        "fallbacks": sum(one.reached_edge for one in shown.calls),
        "returned": sum(one.returned for one in shown.calls),
        "failed": shown.failed,
        "failures": [one.why_failed for one in shown.calls if one.why_failed],
        "attach_ms": _ms(shown.attach),
        "registration_ms": _ms(shown.registration),
        "setup_core_ms": _percentiles(_setups(shown)),
        "setup_ferret_ms": _percentiles(_setups_with_fallback(shown)),
        "hold_ms": _percentiles(one.phase(State.HOLDING) for one in shown.calls),
        "fallback_ms": _percentiles(map(_fallback, shown.calls)),
        "replay_ms": _percentiles(one.phase(State.REPLAYING) for one in shown.calls),
        "move_ms": _percentiles(one.phase(State.RECONFIGURING) for one in shown.calls),
        "return_ms": _percentiles(one.phase(State.RETURNING) for one in shown.calls),
        **shown.voice.as_json(),
        "failure_gap_ms": _ms(max(shown.gaps_at_failure)) if shown.gaps_at_failure else None,
        "messages_recorded": sum(one.queued for one in shown.accounts),
        "messages_dropped": sum(sum(one.dropped.values()) + one.kernel_dropped for one in shown.accounts),
        "agents": len(shown.accounts),
        "recordings": [] if shown.capture is None else [one.id for one in shown.capture.recordings],
        "left_over": {nf: dict(kinds) for nf, kinds in shown.leftovers.items()},
    }


def rows(shown: Demonstration) -> list[tuple[str, str]]:
    """What was measured, for people."""
    found = as_json(shown)
    compared = [one.replayed.compared for one in shown.calls if one.replayed is not None]
    return [
        ("calls", f"{found['calls']}: {found['fallbacks']} moved to the edge, {found['returned']} back on the core"),
        ("failed", str(found["failed"])),
        ("call set-up over the core", _spoken(found["setup_core_ms"])),
        ("call set-up with fallback", _spoken(found["setup_ferret_ms"])),
        ("hold, over the WAN", _spoken(found["hold_ms"])),
        ("fallback: from the hold to the edge", _spoken(found["fallback_ms"])),
        ("  of it, until replayed and checked", _spoken(found["replay_ms"])),
        ("  of it, moved and resumed", _spoken(found["move_ms"])),
        ("return, once they have hung up", _spoken(found["return_ms"])),
        ("messages compared at the edge", f"{sum(compared)}, in {len(compared)} replays"),
        ("voice delay over the core, one way", _spoken(found["voice_delay_core_ms"])),
        ("voice delay over the edge, one way", _spoken(found["voice_delay_edge_ms"])),
        ("longest time without voice at a move", _number(found["voice_gap_ms"])),
        *_killed(found["failure_gap_ms"]),
        ("voice packets lost", f"{found['voice_lost']} of {found['voice_sent']}"),
        ("messages seen by agents", f"{found['messages_recorded']} by {found['agents']} agents"),
        ("messages dropped", str(found["messages_dropped"])),
        ("left over in any NF", _left(found["left_over"])),
    ]


def _left(found: dict[str, dict[str, int]]) -> str:
    kinds = (
        f"{nf}: " + ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in held.items()) for nf, held in found.items()
    )
    return "; ".join(kinds) or "nothing"


def _killed(gap: float | None) -> list[tuple[str, str]]:
    return [] if gap is None else [("longest time without voice, edge NF killed", _number(gap))]


def page(shown: Demonstration, settings: str) -> str:
    """A self-contained HTML page: figures, the paper's figure 7 of this run, and the ladder of the core's messages."""
    table = "".join(f"<tr><th>{escape(what)}</th><td>{escape(value)}</td></tr>" for what, value in rows(shown))
    plots = call_setup_cdf(_setups(shown), _setups_with_fallback(shown))
    plots += voice_delay_cdf(shown.voice.delays("core"), shown.voice.delays("edge"))
    told = (
        f"<p>{escape(settings)} Device, base station, remote party and WAN are emulations that speak the real "
        f"protocols. The ladder shows what agents have seen on the wire in the first call: between NFs of the core and "
        f"their neighbours and, on tinted rows, at the edge. What the replayer hands to edge NFs over their replay "
        f"ports is on no wire.</p>"
    )
    ladders = (
        [ladder_of("Signalling of the first call", messages, edge=shown.edge)] if (messages := _first(shown)) else []
    )
    return html_page("FERRET: live calls, moved to the edge", told + f"<table>{table}</table>" + plots, ladders)


def _first(shown: Demonstration) -> list[SignallingMessage]:
    """What belongs to subscribers until the first call is over, of core and edge in the order of time."""
    captures = [one for one in (shown.capture, shown.edge_capture) if one is not None]
    over = shown.calls[0].over_at_ns if shown.calls else 0
    found = [m for one in captures for m in one.messages if m.name not in KEEP_ALIVES]
    until = [m for m in found if not over or m.captured.captured_at_ns <= over]
    in_time = sorted(until, key=lambda m: m.captured.captured_at_ns)
    return [replace(message, index=number) for number, message in enumerate(in_time, start=1)]


def _setups(shown: Demonstration) -> list[float]:
    return [one.setup for one in shown.calls if one.setup is not None]


def _setups_with_fallback(shown: Demonstration) -> list[float]:
    spent = ((one.setup, one.phase(*TO_THE_EDGE)) for one in shown.calls)
    return [setup + to_edge for setup, to_edge in spent if setup is not None and to_edge is not None]


def _fallback(call: LiveCall) -> float | None:
    return call.phase(State.REPLAYING, State.RECONFIGURING)


def _percentiles(values: Iterable[float | None]) -> dict[str, float | None]:
    known = sorted(value for value in values if value is not None)
    return {f"p{p}": _ms(percentile(known, p)) if known else None for p in (50, 95, 99)}


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


def _spoken(found: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in found.items())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} ms"
