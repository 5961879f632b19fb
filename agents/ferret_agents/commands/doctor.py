"""`ferret doctor`: what this machine lacks for FERRET, and what to change."""

from __future__ import annotations

from pathlib import Path

import click

from ferret.commands.output import print_json
from ferret.errors import FerretError
from ferret.queue import check_queue
from ferret_agents.live.doctor import Finding, Level, examine
from ferret_agents.live.interfaces import find_interfaces
from ferret_agents.live.settings import load

_SIGNS = {Level.GOOD: "ok     ", Level.WARNING: "warning", Level.BAD: "FAULT  "}


@click.command(short_help="Say what this machine lacks, and what to change.")
@click.option(
    "-c", "--config", "config_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Look at an agent's configuration too: its interfaces, and whether its queue is there.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def doctor(config_file: Path | None, as_json: bool) -> int:
    """Look at what FERRET needs of this machine, and say what to change.

    Exit status: 0 all well, or warnings only; 1 something that an agent or a recorder cannot do without.
    """
    findings = examine()
    if config_file is not None:
        findings += _configuration(config_file)
    bad = any(one.level is Level.BAD for one in findings)
    if as_json:
        fields = ("what", "level", "found", "advice")
        print_json(
            {"healthy": not bad, "findings": [{name: getattr(one, name) for name in fields} for one in findings]}
        )
        return int(bad)
    for one in findings:
        click.echo(f"{_SIGNS[one.level]}  {one.what}: {one.found}")
        if one.advice:
            click.echo(f"         → {one.advice}")
    return int(bad)


def _configuration(path: Path) -> list[Finding]:
    """The file itself, its interfaces, its queue."""
    try:
        settings = load(path)
    except FerretError as error:
        return [Finding("configuration", Level.BAD, str(error), "correct the file")]
    findings = [Finding("configuration", Level.GOOD, f"{len(settings.agents)} agent(s)")]
    for name in dict.fromkeys(name for agent in settings.agents for name in agent.interfaces):
        try:
            find_interfaces([name])
            findings.append(Finding(f"interface {name}", Level.GOOD, "there"))
        except FerretError as error:
            findings.append(Finding(f"interface {name}", Level.BAD, str(error), "name another one in the file"))
    try:
        check_queue(settings.queue)
        findings.append(Finding(f"queue {settings.queue}", Level.GOOD, "there"))
    except FerretError as error:
        advice = (
            "start the recorder (ferret record --queue); until then agents keep what they capture, and then drop it"
        )
        findings.append(Finding(f"queue {settings.queue}", Level.WARNING, str(error), advice))
    return findings
