"""What `ferret demo` says of its calls: a line or two, JSON, and a page with ladder and plots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from ferret.fallback.states import State
from ferret.ladder import html_page, ladder_of
from ferret_deploy.lab.live_call import Demonstration, LiveCall
from ferret_deploy.lab.plots import call_setup_cdf, voice_delay_cdf
from ferret_deploy.lab.voice_figures import percentile

_TO_THE_EDGE: Final = (State.HOLDING, State.REPLAYING, State.RECONFIGURING)


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
        ("voice packets lost", f"{found['voice_lost']} of {found['voice_sent']}"),
        ("messages seen by agents", f"{found['messages_recorded']} by {found['agents']} agents"),
        ("messages dropped", str(found["messages_dropped"])),
        ("left over in any NF", str(found["left_over"]) if found["left_over"] else "nothing"),
    ]


def page(shown: Demonstration, settings: str) -> str:
    """A self-contained HTML page: figures, the paper's figure 7 of this run, and the ladder of the core's messages."""
    table = "".join(f"<tr><th>{escape(what)}</th><td>{escape(value)}</td></tr>" for what, value in rows(shown))
    plots = call_setup_cdf(_setups(shown), _setups_with_fallback(shown))
    plots += voice_delay_cdf(shown.voice.delays("core"), shown.voice.delays("edge"))
    told = (
        f"<p>{escape(settings)} Device, base station, remote party and WAN are emulations that speak the real "
        f"protocols. The ladder shows what the agents beside the core's NFs have seen; edge NFs have no agents.</p>"
    )
    messages = [] if shown.capture is None else [one for one in shown.capture.messages if one.subscribers]
    return html_page(
        "FERRET: live calls, moved to the edge", told + f"<table>{table}</table>" + plots, _ladders(messages)
    )


def _ladders(messages: Sequence[Any]) -> list[Any]:
    return [ladder_of("Signalling at the core", messages)] if messages else []


def _setups(shown: Demonstration) -> list[float]:
    return [one.setup for one in shown.calls if one.setup is not None]


def _setups_with_fallback(shown: Demonstration) -> list[float]:
    spent = ((one.setup, one.phase(*_TO_THE_EDGE)) for one in shown.calls)
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
