"""An edge NF's counters."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class EdgeMetrics:
    """Counters of one NF in a registry of its own, so that several NFs can live in one process."""

    def __init__(self, nf: str) -> None:
        self._registry = CollectorRegistry()
        self._delivered = self._counter("ferret_edge_delivered", "Recorded messages executed.", "interface")
        self._repeated = self._counter("ferret_edge_repeated", "Messages delivered again, not executed again.")
        self._outputs = self._counter("ferret_edge_outputs", "Messages made, by what became of them.", "fate")
        self._differences = self._counter("ferret_edge_differences", "Differences found by the output check.", "risk")
        self._refused = self._counter("ferret_edge_refused", "Messages that the NF could not execute.")
        self._held = Gauge("ferret_edge_state", "Subscriber state held.", ["nf", "kind"], registry=self._registry)
        self._nf = nf

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, ["nf", *labels], registry=self._registry)

    def delivered(self, interface: str) -> None:
        """A recorded message was executed."""
        self._delivered.labels(self._nf, interface).inc()

    def repeated(self) -> None:
        """A message came again and was only acknowledged."""
        self._repeated.labels(self._nf).inc()

    def output(self, fate: str) -> None:
        """The NF made a message: "sent", "caught" or "live"."""
        self._outputs.labels(self._nf, fate).inc()

    def difference(self, risk: str) -> None:
        """The check found a difference."""
        self._differences.labels(self._nf, risk).inc()

    def refused(self) -> None:
        """The NF could not execute a message."""
        self._refused.labels(self._nf).inc()

    def held(self, kind: str, number: int) -> None:
        """How much state of one kind is held now."""
        self._held.labels(self._nf, kind).set(number)

    def text(self) -> str:
        """Prometheus' text format."""
        return generate_latest(self._registry).decode("utf-8")
