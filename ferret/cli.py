"""The command `ferret`: sub-commands come from every installed package through the entry points `ferret.commands`.

Exit status: 0 all well; 1 a replay that came out different or failed; 2 unusable input or configuration;
130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from ferret import __version__
from ferret.errors import FerretError

ENTRY_POINTS = "ferret.commands"
INTERRUPTED = 130

# In the order in which somebody new meets them; others follow by name.
_ORDER = ("demo", "inspect", "agent", "record", "recordings", "replay", "edge", "lab", "bench")


class Commands(click.Group):
    """Sub-commands by entry point, imported only when they are used: `ferret --version` loads no codec."""

    @cached_property
    def _entry_points(self) -> Mapping[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=ENTRY_POINTS)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in reading order."""
        names = sorted(self._entry_points)
        return sorted(names, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a sub-command."""
        point = self._entry_points.get(cmd_name)
        if point is None:
            return None
        command = point.load()
        if not isinstance(command, click.Command):
            raise FerretError(f"the entry point {point.value} is not a command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command. A reader that has seen enough (`ferret inspect … | head`) ends it, without an error.

        click and rich would exit with 1, which here says that a replay came out different.
        """
        try:
            status = super().invoke(ctx)
            sys.stdout.flush()
        except (BrokenPipeError, SystemExit) as error:
            if not any(isinstance(one, BrokenPipeError) for one in (error, error.__context__)):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is for nobody
            return 0
        return status


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 all well, 1 a replay came out different or failed, 2 unusable input or configuration.",
)
@click.version_option(__version__, prog_name="ferret")
def ferret() -> None:
    """Record LTE/IMS signalling and replay it, statefully, at network functions at the edge.

    Start with `ferret inspect FILE` to see what is in a capture, then `ferret replay FILE`.
    """


def main() -> None:
    """Run the command line; every expected error is one line on standard error."""
    _buffer_output()
    try:
        status = ferret.main(prog_name="ferret", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.message)
        sys.exit(0)
    except click.UsageError as error:
        _say(f"{error.format_message()}{_hint(error)}")
        sys.exit(2)
    except click.ClickException as error:
        _say(error.format_message())
        sys.exit(2)
    except click.Abort:
        _say("interrupted")
        sys.exit(INTERRUPTED)
    except FerretError as error:
        _say(str(error))
        sys.exit(error.exit_status)
    sys.exit(status if isinstance(status, int) else 0)


def _buffer_output() -> None:
    """With PYTHONUNBUFFERED standard output may write a part of a long text and forget the rest."""
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        out = sys.stdout
        sys.stdout = open(out.fileno(), "w", encoding=out.encoding, errors=out.errors, closefd=False)  # noqa: SIM115


def _hint(error: click.UsageError) -> str:
    return f" (see '{error.ctx.command_path} --help')" if error.ctx is not None else ""


def _say(text: str) -> None:
    click.echo(f"ferret: {' '.join(text.split())}", err=True)


if __name__ == "__main__":
    main()
