"""Fixtures that every test may use: real captures and the independent decoder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ferret", deadline=None)  # machines are shared: how long an example takes says nothing
settings.load_profile("ferret")

DATA = Path(__file__).parent / "data"


def _captures(directory: Path) -> list[Path]:
    return sorted(p for p in directory.iterdir() if p.suffix in {".pcap", ".pcapng"})


def own_capture_paths() -> list[Path]:
    """The captures that the project carries."""
    return _captures(DATA)


def all_capture_paths() -> list[Path]:
    """The project's own captures, and those of the directory that FERRET_CAPTURES names."""
    paths = {p.name: p for p in own_capture_paths()}
    extra = os.environ.get("FERRET_CAPTURES")
    if extra:
        for path in _captures(Path(extra)):
            paths.setdefault(path.name, path)
    return [paths[name] for name in sorted(paths)]


@pytest.fixture(scope="session")
def capture() -> Callable[[str], Path]:
    """One of the project's own captures by name."""
    return lambda name: DATA / name


@pytest.fixture(scope="session")
def own_captures() -> list[Path]:
    """The captures that the project carries."""
    return own_capture_paths()


@pytest.fixture(scope="session")
def all_captures() -> list[Path]:
    """The project's own captures and those named by FERRET_CAPTURES."""
    return all_capture_paths()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that needs something this machine lacks is skipped, loudly: the reason names what to install."""
    missing = {
        "tshark": None if shutil.which("tshark") else "tshark is not installed (apt-get install tshark)",
        "mqueue": None if Path("/proc/sys/fs/mqueue").is_dir() else "this kernel has no POSIX message queues",
        "root": None if os.geteuid() == 0 else "needs root",
    }
    for item in items:
        for marker, reason in missing.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"SKIPPED LOUDLY: {reason}"))
