"""Peers that others wrote: which tests need which, their versions in the summary, and the table in docs/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ferret.errors import ConfigError
from ferret.transport.sctp import SctpTransport, choose
from tests.interop.peers import freediameter, golang, kamailio, sipp
from tests.interop.peers.ledger import PAGE, Ledger
from tests.interop.peers.wire import Wire, captured

if TYPE_CHECKING:
    from collections.abc import Callable

_LEDGER = pytest.StashKey[Ledger]()
# What a machine needs for the tests with each peer; an empty answer is one that lacks it.
_PRESENT: dict[str, tuple[Callable[[], str], str]] = {
    "kamailio": (kamailio.version, "apt-get install kamailio kamailio-ims-modules kamailio-presence-modules"),
    "freediameter": (freediameter.version, "apt-get install freediameter freediameter-extensions"),
    "sipp": (sipp.version, "apt-get install sip-tester"),
    "go-gtp": (golang.version, "Go 1.21 or later is needed (https://go.dev/dl)"),
    "go-diameter": (golang.version, "Go 1.21 or later is needed (https://go.dev/dl)"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--write-interoperability` writes what was found to docs/interoperability.md."""
    parser.addoption("--write-interoperability", action="store_true", help=f"write {PAGE}")


def pytest_configure(config: pytest.Config) -> None:
    """One ledger for the whole run."""
    config.stash[_LEDGER] = Ledger()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test whose peer this machine does not have is skipped, loudly: the reason names what to install."""
    for item in items:
        for marker in item.iter_markers("peer"):
            present, install = _PRESENT[marker.args[0]]
            if not present():
                reason = f"SKIPPED LOUDLY: interoperation with {marker.args[0]} is NOT tested: {install}"
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say who the peers were and what was exchanged with them."""
    ledger = config.stash[_LEDGER]
    if not ledger.rows:
        return
    terminalreporter.section("peers")
    terminalreporter.line(", ".join(f"{peer} {version}" for peer, version in ledger.versions.items()))
    for row in ledger.rows.values():
        terminalreporter.line(row.line())
    for fault in dict.fromkeys(ledger.faults):
        terminalreporter.line(f"not ours: {fault}")
    if config.getoption("--write-interoperability", default=False):
        PAGE.write_text(ledger.page())
        terminalreporter.line(f"written: {PAGE}")


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    """Where tests say what they try, with whom."""
    return pytestconfig.stash[_LEDGER]


@pytest.fixture(scope="module")
def wire(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A capture of the addresses that a module names as CAPTURED."""
    file = tmp_path_factory.mktemp("wire") / "interop.pcap"
    networks = request.module.CAPTURED
    with captured(file, *([networks] if isinstance(networks, str) else networks)) as capture:
        yield capture


@pytest.fixture(scope="session")
def sctp_transport() -> SctpTransport:
    """Whatever SCTP this machine has; without any the test is skipped, loudly."""
    try:
        return choose().transport
    except ConfigError as error:
        pytest.skip(f"SKIPPED LOUDLY: interoperation with the whole core is NOT tested: {error}")


@pytest.fixture(scope="session")
def go_programs() -> Path:
    """Where the peers that are written in Go are; without Go's modules their tests are skipped, loudly."""
    place, why_not = golang.programs()
    if why_not:
        pytest.skip(f"SKIPPED LOUDLY: interoperation with go-gtp and go-diameter is NOT tested: {why_not}")
    return place


@pytest.fixture(autouse=True)
def _as_root_only(request: pytest.FixtureRequest) -> None:
    """Peers are given names, addresses and sockets that only root may."""
    if request.node.get_closest_marker("peer") and os.geteuid():
        pytest.skip("SKIPPED LOUDLY: interoperation with peers is NOT tested: needs root")
