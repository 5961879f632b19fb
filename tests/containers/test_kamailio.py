"""deploy/compose.kamailio.yaml: Debian's Kamailio as the IMS, FERRET's agents beside it, FERRET's edge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.engine import Composition, Engine, composition
from tests.containers.lab import CSCFS, recorded_call, replayed_at_the_edge, said_when_ready

pytestmark = [pytest.mark.containers, pytest.mark.root, pytest.mark.timeout(900)]
CONNECTED = "3868 connected"  # what cdp says when its Diameter peer is there


@pytest.fixture(scope="module")
def lab(container_engine: Engine, kamailio_image: str) -> Iterator[Composition]:
    """The lab, when every Kamailio is connected to its HSS or PCRF."""
    with composition(container_engine, "compose.lab.yaml", "compose.kamailio.yaml") as running:
        running.until_said(said_when_ready(dict.fromkeys(CSCFS, CONNECTED)))
        yield running


def test_every_cscf_is_a_kamailio_without_root_and_without_capabilities(lab: Composition) -> None:
    for cscf in CSCFS:
        assert lab("exec", "-T", cscf, "kamailio", "-v").startswith("version: kamailio ")
        user, capabilities = lab.capabilities(cscf)
        assert (user != 0, capabilities) == (True, 0)


def test_a_call_through_kamailio_is_recorded_and_replays_at_the_edge(lab: Composition) -> None:
    replayed_at_the_edge(lab, recorded_call(lab)["volte"]["id"])
