"""`ferret edge NF`: one edge NF as a process of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from ferret.errors import ConfigError
from ferret.logs import configure
from ferret.records.message import Role
from ferret.replay.plan import EDGE_ROLES
from ferret.replay.rules import load_rules
from ferret.signals import until_told_to_stop
from ferret.transport.sctp import choose
from ferret_edge.edge_set import EdgeSet
from ferret_edge.site import Site

_BY_NAME = {str(role).lower(): role for role in EDGE_ROLES} | {
    str(role).lower().replace("-", ""): role for role in EDGE_ROLES
}


@click.command()
@click.argument("nf", metavar="NF")
@click.option("--network", default="127.0.10.0/24", show_default=True, help="The /24 that holds the edge's addresses.")
@click.option(
    "--members",
    default="mme,sgw,pgw,pcrf,pcscf,scscf",
    show_default=True,
    help="All NFs of this edge: messages between them go over sockets, others are caught.",
)
@click.option("--rules", type=click.Path(path_type=Path, dir_okay=False), help="Rules for the output check (TOML).")
@click.option("--seed", default=0, show_default=True, help="What allocated identifiers are drawn from.")
@click.option("--log-level", default="info", show_default=True, help="debug, info, warning or error.")
def edge(nf: str, network: str, members: str, rules: Path | None, seed: int, log_level: str) -> None:
    """Run one edge NF: mme, sgw, pgw, pcrf, pcscf or scscf.

    It serves its protocols and, on port 7700 of its address, the replay port (/replay), /healthz and /metrics. The
    PCRF has to be there before the PGW and the P-CSCF connect to it; they try for 5 seconds. Stop it with Ctrl-C or
    SIGTERM.
    """
    role = _role(nf)
    everyone = frozenset(_role(name) for name in members.split(",") if name.strip())
    if role not in everyone:
        raise ConfigError(f"{nf} is not among the members {members}")
    configure(level=log_level)
    sctp = choose().transport if role is Role.MME else None
    nfs = EdgeSet([role], site=Site.of(network), rules=load_rules(rules), seed=seed, sctp=sctp, all_members=everyone)
    asyncio.run(_serve(nfs, role))


def _role(name: str) -> Role:
    role = _BY_NAME.get(name.strip().lower())
    if role is None:
        raise ConfigError(f"no edge NF is called {name.strip()!r}: mme, sgw, pgw, pcrf, pcscf or scscf")
    return role


async def _serve(nfs: EdgeSet, role: Role) -> None:
    stopping = until_told_to_stop()
    async with nfs:
        click.echo(f"edge {role} at {nfs.site.address(role)}, replay port {nfs.site.replay_url(role)}")
        await stopping.wait()
