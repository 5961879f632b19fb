"""What an agent tells Prometheus and those who ask after its health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ferret_agents.live.agent import LiveAgent
from ferret_agents.live.counters import LAG_BOUNDS_NS

_NS_PER_S = 1e9


_LABELS: Final = ("agent", "interface")
Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class AgentMetrics(Collector):
    """Reads the accounts when it is asked for: nothing is counted twice, and nothing on the hot path."""

    def __init__(self, agents: Sequence[LiveAgent]) -> None:
        self._agents = agents

    def collect(self) -> Iterator[Family]:
        """For Prometheus."""
        found: dict[str, Family] = {}
        for agent in self._agents:
            _add(found, agent)
        yield from found.values()


def _add(found: dict[str, Family], agent: LiveAgent) -> None:
    """One agent's figures."""
    at = agent.counters
    labels = (at.agent, "+".join(agent.config.interfaces))

    def counter(name: str, text: str, values: Mapping[Any, int], *keys: str) -> None:
        family = found.setdefault(name, CounterMetricFamily(f"ferret_agent_{name}", text, labels=(*_LABELS, *keys)))
        for key, value in sorted(values.items(), key=repr):
            if isinstance(family, CounterMetricFamily):
                family.add_metric((*labels, *([key] if isinstance(key, str) else key)), value)

    def gauge(name: str, text: str, value: int) -> None:
        family = found.setdefault(name, GaugeMetricFamily(f"ferret_agent_{name}", text, labels=_LABELS))
        if isinstance(family, GaugeMetricFamily):
            family.add_metric(labels, value)

    fates = {"used": at.used, "damaged": at.damaged, "ignored": sum(at.ignored.values())}
    counter("frames", "Frames that were read, by what became of them", fates, "fate")
    counter("ignored_frames", "Frames that hold no signalling, by kind", at.ignored, "kind")
    counter("unreadable_frames", "Frames that are encrypted, by what with", at.unreadable, "kind")
    counter("kernel_dropped_frames", "Frames dropped before they were read", {(): at.kernel_dropped})
    counter("messages", "Signalling messages of the NF, by protocol and type", at.by_type, "protocol", "type")
    counter("queued_messages", "Messages put into the queue", {(): at.queued})
    drops = {**at.dropped, "kernel": at.kernel_dropped}
    counter("dropped_messages", "Messages that did not get into the queue, by reason", drops, "reason")
    counter("spilled_messages", "Messages that had to wait on disk", {(): at.spilled})
    counter("foreign_messages", "Messages of others than the NF", {(): at.foreign})
    counter("damage", "Things that were wrong with what was captured", {(): at.damage})
    counter("interface_down", "How often an interface went down", {(): at.interrupted})
    exported = {
        (where, what): number
        for where, one in at.exported.items()
        for what, number in one.items()
        if what != "waiting"  # which goes down again
    }
    counter("exported", "Frames and messages for files and for HOMER, by what became of them", exported, "to", "fate")
    gauge("waiting_messages", "Messages that wait in memory or on disk for the queue", at.waiting)
    gauge("waiting_octets", "Octets that wait in memory for the queue", at.waiting_octets)
    gauge("spill_waiting_messages", "Messages that wait on disk", at.on_disk)
    gauge("pending_frames", "Frames that wait in reassembly", at.pending)
    gauge("reassembly_octets", "Octets that wait in reassembly", at.reassembly_octets)
    depth = agent.delivery.queue_depth
    if depth is not None:
        gauge("queue_slots_taken", "Slots of the queue that are taken", depth)
    _add_lag(found, agent, labels)


def _add_lag(found: dict[str, Family], agent: LiveAgent, labels: tuple[str, str]) -> None:
    lag, reached = agent.lag, 0
    buckets = []
    for bound, count in zip((*LAG_BOUNDS_NS, None), lag.counts, strict=True):
        reached += count
        buckets.append(("+Inf" if bound is None else repr(bound / _NS_PER_S), float(reached)))
    text = "From the kernel's timestamp into the queue"
    family = found.setdefault("lag", HistogramMetricFamily("ferret_agent_lag_seconds", text, labels=_LABELS))
    if isinstance(family, HistogramMetricFamily):
        family.add_metric(labels, buckets, lag.sum_ns / _NS_PER_S)


def faults(agent: LiveAgent) -> list[str]:
    """What keeps an agent from its work right now, in words."""
    found = [f"the interface {name} is down" for name in agent.down]
    if not agent.delivery.has_queue:
        found.append("there is no queue to put messages into: is the recorder running?")
    counters, limits = agent.counters, agent.config.buffer
    if counters.waiting * 2 > limits.messages or counters.waiting_octets * 2 > limits.octets:
        found.append("the queue has had no room for long: more than half of the memory set aside is used up")
    return found


def agent_app(agents: LiveAgent | Sequence[LiveAgent]) -> web.Application:
    """`/healthz` (200, or 503 with what is wrong) and `/metrics`."""
    every = (agents,) if isinstance(agents, LiveAgent) else tuple(agents)
    registry = CollectorRegistry()
    registry.register(AgentMetrics(every))

    async def healthz(_request: web.Request) -> web.Response:
        wrong = list(dict.fromkeys(fault for agent in every for fault in faults(agent)))
        body: dict[str, object] = {"status": "failing" if wrong else "ok", "faults": wrong}
        accounts = [_health(agent) for agent in every]
        body |= accounts[0] if len(accounts) == 1 else {"agents": accounts}
        return web.json_response(body, status=503 if wrong else 200)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    return app


def _health(agent: LiveAgent) -> dict[str, object]:
    at = agent.counters
    return {
        "agent": at.agent,
        "messages": at.messages,
        "queued": at.queued,
        "waiting": at.waiting,
        "dropped": dict(at.dropped),
        "kernel_dropped": at.kernel_dropped,
    }
