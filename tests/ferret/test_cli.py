"""The command line reads well, fails in one line, and does not load what it does not need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ferret import __version__, cli
from ferret.cli import ferret, main
from ferret.errors import RecordError

COMMANDS = ["demo", "inspect", "agent", "record", "recordings", "replay", "edge"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: exit status, standard output, standard error."""

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ferret", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


def test_help_lists_the_commands_in_the_order_in_which_they_are_met() -> None:
    result = CliRunner().invoke(ferret, ["--help"])
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed][: len(COMMANDS)] == COMMANDS
    assert "Exit status: 0 all well" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself_and_each_of_its_options(name: str, option: str) -> None:
    result = CliRunner().invoke(ferret, [name, option], prog_name="ferret")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: ferret {name} ")
    command = ferret.get_command(click.Context(ferret), name)
    assert command is not None
    assert command.help
    assert command.help.splitlines()[0].endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]}"
            assert parameter.help.rstrip().endswith((".", ")")), f"{name} {parameter.opts[0]}"


def test_no_argument_shows_the_help(run: Callable[..., tuple[int, str, str]]) -> None:
    _, out, err = run()
    assert "Usage: ferret" in out + err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["inspekt"], "No such command 'inspekt'"),
        (["--colour"], "No such option"),
        (["inspect"], "Missing argument 'FILE'"),
        (["inspect", "x.pcap", "--jsn"], "No such option"),
        (["inspect", "x.pcap", "y.pcap"], "unexpected extra argument"),
        (["record", "x.pcap"], "Missing option '--journal'"),
        (["recordings"], "Missing option '--journal'"),
        (["recordings", "--journal"], "requires an argument"),
        (["replay"], "Missing argument"),
        (["edge", "nobody"], "nobody"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    arguments: list[str], says: str, run: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert says in err
    assert err.startswith("ferret: ")
    assert err.count("\n") == 1


def test_the_version_is_said_without_loading_codecs() -> None:
    script = (
        "import sys; sys.argv = ['ferret', '--version']\n"
        "from ferret.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = ('ferret.protocols', 'ferret_', 'pycrate', 'scapy', 'aiohttp', 'rich', 'asyncio')\n"
        "    print([name for name in sys.modules if name.startswith(heavy)])\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [f"ferret, version {__version__}", "[]"]


@pytest.mark.parametrize("options", [["--json"], [], ["--ladder", "all"]])
def test_a_reader_that_has_seen_enough_is_no_error(options: list[str], capture: Callable[[str], Path]) -> None:
    arguments = [sys.executable, "-m", "ferret.cli", "inspect", str(capture("open5gs-attach.pcap")), *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.close()
        assert writer.stderr.read() == ""
    assert writer.returncode == 0


def test_an_expected_error_is_one_line_with_its_status(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]
) -> None:
    @click.command()
    def fail() -> None:
        raise RecordError("two\nlines")

    monkeypatch.setattr(cli.Commands, "get_command", lambda self, context, name: fail)
    assert run("fail") == (2, "", "ferret: two lines\n")


def test_an_interrupt_is_said_and_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]
) -> None:
    @click.command()
    def work() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.Commands, "get_command", lambda self, context, name: work)
    status, out, err = run("work")
    assert (status, out) == (130, "")
    assert err.endswith("ferret: interrupted\n")


def test_a_command_may_give_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]
) -> None:
    @click.command()
    def differ() -> int:
        return 1

    monkeypatch.setattr(cli.Commands, "get_command", lambda self, context, name: differ)
    assert run("differ") == (1, "", "")


def test_an_entry_point_that_is_no_command_is_refused(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]
) -> None:
    points = [EntryPoint("odd", "json:dumps", cli.ENTRY_POINTS)]
    monkeypatch.setattr(cli, "entry_points", lambda group: points)
    monkeypatch.delitem(vars(ferret), "_entry_points", raising=False)
    try:
        assert run("odd") == (2, "", "ferret: the entry point json:dumps is not a command\n")
    finally:
        vars(ferret).pop("_entry_points", None)
