"""A progress bar for work that takes a while; only on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn


@contextmanager
def recording_progress(file: Path) -> Iterator[Callable[[int, int], None]]:
    """Give a callback `(done, total)` that moves the bar."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"recording {file.name}", total=None)

        def moved(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield moved


@contextmanager
def collecting_progress(most: int) -> Iterator[Callable[[int], None]]:
    """Give a callback `(taken)` that says how many messages there are, of at most `most`."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed} messages; Ctrl-C ends the recording"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("recording", total=most)

        def taken(number: int) -> None:
            bar.update(task, completed=number)

        yield taken
