"""deploy/compose.lab.yaml: the lab in containers, an agent beside each NF, and a replay at edge NFs in containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.engine import Composition, Engine, composition
from tests.containers.lab import CSCFS, recorded_call, replayed_at_the_edge, said_when_ready

pytestmark = [pytest.mark.containers, pytest.mark.root, pytest.mark.timeout(900)]
NET_RAW = 1 << 13  # capabilities(7)


@pytest.fixture(scope="module")
def lab(container_engine: Engine) -> Iterator[Composition]:
    """The lab, when every NF serves and every agent has the queue."""
    with composition(container_engine, "compose.lab.yaml") as running:
        running.until_said(said_when_ready({nf: f"core {role} at" for nf, role in CSCFS.items()}))
        yield running


def test_nothing_runs_as_root_and_only_who_needs_raw_sockets_may_open_them(lab: Composition) -> None:
    for service, expected in {"agent-hss": NET_RAW, "mme": NET_RAW, "sgw": 0, "recorder": 0, "edge-pgw": 0}.items():
        user, capabilities = lab.capabilities(service)
        assert (user != 0, capabilities) == (True, expected), service


def test_a_call_is_recorded_by_the_agents_and_replays_at_the_edge(lab: Composition) -> None:
    replayed_at_the_edge(lab, recorded_call(lab)["volte"]["id"])
