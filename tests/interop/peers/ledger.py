"""The table of what was tried with whom, and how it went: filled by the tests, written to docs/interoperability.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.interop.peers.wire import Reading

PAGE: Final = Path(__file__).parents[3] / "docs" / "interoperability.md"
_HEAD: Final = """# Interoperability

FERRET's NFs, each on real sockets, against programs that others wrote. The tests in `tests/interop/` start the peers,
capture what is said and let tshark read it: no malformed packet, no expert error in anything that FERRET sent.
`make interop` runs them and writes this page; `make test` runs them too. Where a peer is missing on a machine, its
tests are skipped with a word on what to install, and its rows are missing here.

"passed": the procedures ended as the specifications say on both sides, and nothing was left of the subscribers. An NF
with "_e" is an edge NF in a replay; "replayed" means that the recording speaks for it.

| peer | version | is the | FERRET is the | interface | procedures | messages | result |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
_TAIL: Final = """
Devices, base station, EPC and HSS around a peer are FERRET's own: a call through Kamailio is that of an attached device
with its bearers. Peers that misbehave (TEID 0, late, repeated and lost messages, refusals, connections that break off,
unknown elements, restarts) are played under a simulated clock in `tests/faults/test_misbehaving_peers.py`.

## What is known of the peers

| peer | what to mind |
| --- | --- |
| Kamailio 5.6.3 | `save("route", "location")` of `ims_registrar_scscf` crashes the worker: give all four parameters |
| | `Rx_AAR_Register` for a contact that has its Rx session already leaves the contact locked: call it once only |
| | S-CSCF modules need `presence` with a database (text files will do); `cdp` finds peers by host name |
| go-gtp 0.8.12 | the gateway tester's MME never deletes a session; its SGW and PGW know no Create or Update Bearer |
| go-diameter 4.1.0 | `s6a_server` puts Service-Selection under 3GPP's vendor identifier: an MME finds no APN |
| SIPp 3.6.1 | K, OP and RES with a zero octet are cut off there: AKA works with those that have none |
| freeDiameter 1.2.1 | never listens at loopback addresses; `Port = 5658` is needed for a peer that it calls over TLS |
"""


@dataclass
class Row:
    """One interface between a peer and one of our NFs."""

    peer: str
    version: str
    theirs: str
    ours: str
    interface: str
    protocol: str
    procedures: dict[str, None] = field(default_factory=dict)  # in the order in which they were tried
    pairs: set[tuple[str, str]] = field(default_factory=set)  # addresses: theirs, ours
    counted: set[tuple[str, str]] = field(default_factory=set)
    messages: int = 0
    failed: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The row as Markdown."""
        result = f"failed: {', '.join(self.failed)}" if self.failed else "passed"
        procedures = ", ".join(self.procedures)
        cells = (self.peer, self.version, self.theirs, self.ours, self.interface, procedures, self.messages, result)
        return f"| {' | '.join(str(one) for one in cells)} |"


class Ledger:
    """All rows of a test run."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str, str], Row] = {}
        self.versions: dict[str, str] = {}
        self.faults: list[str] = []  # of peers, as tshark sees them

    @contextmanager
    def tries(self, *rows: Row) -> Iterator[list[Row]]:
        """What is done inside is on these interfaces; the rows, as they are kept, say whether it went well."""
        entered = [self._enter(row) for row in rows]
        try:
            yield [row for row, _ in entered]
        except BaseException as error:
            for row, procedures in entered:
                row.failed.append(f"{'/'.join(procedures)} ({type(error).__name__})")
            raise

    def count(self, reading: Reading) -> None:
        """Add the messages that a capture has to the rows they belong to."""
        for row in self.rows.values():
            for theirs, ours in row.pairs - row.counted:
                number = reading.between(row.protocol, theirs, ours)
                if number:
                    row.messages += number
                    row.counted.add((theirs, ours))

    def _enter(self, row: Row) -> tuple[Row, tuple[str, ...]]:
        kept = self.rows.setdefault((row.peer, row.theirs, row.ours, row.interface), row)
        self.versions[row.peer] = row.version
        kept.procedures.update(row.procedures)
        kept.pairs |= row.pairs
        return kept, tuple(row.procedures)

    def page(self) -> str:
        """The whole page."""
        rows = sorted(self.rows.values(), key=lambda row: (row.peer, row.theirs, row.ours, row.interface))
        return _HEAD + "".join(f"{row.line()}\n" for row in rows) + _TAIL


def row(
    peer: str,
    version: str,
    *,
    theirs: str,
    ours: str,
    interface: str,
    protocol: str,
    procedures: tuple[str, ...],
    between: tuple[str, str],
) -> Row:
    """What a test is about to try. `between`: the addresses of the peer and of our NF."""
    return Row(peer, version, theirs, ours, interface, protocol, dict.fromkeys(procedures), {between})
