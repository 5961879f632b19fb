"""What an agent tells Prometheus and those who ask after its health."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from ferret_agents.live.agent import LiveAgent
from ferret_agents.live.counters import LAG_BOUNDS_NS

_NS_PER_S = 1e9


class AgentMetrics(Collector):
    """Reads the account when it is asked for: nothing is counted twice, and nothing on the hot path."""

    def __init__(self, agent: LiveAgent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """For Prometheus."""
        at = self._agent.counters
        frames = {"used": at.used, "damaged": at.damaged, "ignored": sum(at.ignored.values())}
        yield _counter("frames", "Frames that were read, by what became of them", {"fate": frames})
        yield _counter("ignored_frames", "Frames that hold no signalling, by kind", {"kind": at.ignored})
        yield _counter("kernel_dropped_frames", "Frames dropped before they were read", at.kernel_dropped)
        yield _counter("messages", "Signalling messages found, by protocol", {"protocol": at.by_protocol})
        yield _counter("queued_messages", "Messages put into the queue", at.queued)
        yield _counter("dropped_messages", "Messages that did not get into the queue", {"reason": at.dropped})
        yield _counter("foreign_messages", "Messages of others than the NF", at.foreign)
        yield _counter("damage", "Things that were wrong with what was captured", at.damage)
        yield _counter("interface_down", "How often an interface went down", at.interrupted)
        yield _gauge("waiting_messages", "Messages that wait in memory for the queue", at.waiting)
        yield _gauge("waiting_octets", "Octets that wait in memory for the queue", at.waiting_octets)
        yield _gauge("pending_frames", "Frames that wait in reassembly", at.pending)
        depth = self._agent.delivery.queue_depth
        if depth is not None:
            yield _gauge("queue_slots_taken", "Slots of the queue that are taken", depth)
        yield self._lag()

    def _lag(self) -> HistogramMetricFamily:
        lag, reached = self._agent.lag, 0
        buckets = []
        for bound, count in zip((*LAG_BOUNDS_NS, None), lag.counts, strict=True):
            reached += count
            buckets.append(("+Inf" if bound is None else repr(bound / _NS_PER_S), float(reached)))
        family = HistogramMetricFamily(
            "ferret_agent_lag_seconds", "From the kernel's timestamp into the queue", labels=()
        )
        family.add_metric((), buckets, lag.sum_ns / _NS_PER_S)
        return family


def _counter(name: str, text: str, values: int | Mapping[str, Mapping[str, int]]) -> CounterMetricFamily:
    """A counter; by label where `values` is {label: {value: number}}."""
    if isinstance(values, int):
        return CounterMetricFamily(f"ferret_agent_{name}", text, value=values)
    ((label, numbers),) = values.items()
    family = CounterMetricFamily(f"ferret_agent_{name}", text, labels=(label,))
    for value, number in sorted(numbers.items()):
        family.add_metric((value,), number)
    return family


def _gauge(name: str, text: str, value: int) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"ferret_agent_{name}", text, value=value)


def faults(agent: LiveAgent) -> list[str]:
    """What keeps an agent from its work right now, in words."""
    found = [f"the interface {name} is down" for name in agent.down]
    if not agent.delivery.has_queue:
        found.append("there is no queue to put messages into: is the recorder running?")
    counters, limits = agent.counters, agent.config.buffer
    if counters.waiting * 2 > limits.messages or counters.waiting_octets * 2 > limits.octets:
        found.append("the queue has had no room for long: more than half of the memory set aside is used up")
    return found


def agent_app(agent: LiveAgent) -> web.Application:
    """`/healthz` (200, or 503 with what is wrong) and `/metrics`."""
    registry = CollectorRegistry()
    registry.register(AgentMetrics(agent))

    async def healthz(_request: web.Request) -> web.Response:
        wrong = faults(agent)
        at = agent.counters
        body = {
            "status": "failing" if wrong else "ok",
            "agent": at.agent,
            "faults": wrong,
            "messages": at.messages,
            "queued": at.queued,
            "waiting": at.waiting,
            "dropped": dict(at.dropped),
            "kernel_dropped": at.kernel_dropped,
        }
        return web.json_response(body, status=503 if wrong else 200)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    return app
