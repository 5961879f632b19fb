"""The rules that hold the house together, read from the sources themselves."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "ferret": ROOT / "ferret",
    "ferret_agents": ROOT / "agents" / "ferret_agents",
    "ferret_core": ROOT / "core" / "ferret_core",
    "ferret_edge": ROOT / "edge" / "ferret_edge",
    "ferret_deploy": ROOT / "deploy" / "ferret_deploy",
}
MAY_IMPORT = {
    "ferret": set(),
    "ferret_agents": {"ferret"},
    "ferret_core": {"ferret"},
    "ferret_edge": {"ferret", "ferret_core"},
    "ferret_deploy": {"ferret", "ferret_agents", "ferret_core", "ferret_edge"},
}
# Engines take bytes, events and time: none of their modules may reach for the world.
IO_MODULES = {
    "asyncio", "socket", "select", "selectors", "time", "random", "threading", "subprocess", "os",
    "structlog", "logging", "aiohttp", "ssl", "signal",
}  # fmt: skip
ENGINES = [
    "ferret/protocols",
    "ferret/replay",
    "ferret/records",
    "core/ferret_core",
    "agents/ferret_agents/capture",
]
# The rims inside those folders, each with the reason that it is one.
RIMS = {
    "ferret/records/journal.py": "the journal is the disk",
    "ferret/records/journal_key.py": "draws nonces and reads the key file",
    "ferret/replay/client.py": "the replayer's connection to a replay port",
    "ferret/replay/runner.py": "drives a replay against the clock",
    "ferret/protocols/s1ap/schema.py": "a lock: pycrate's ASN.1 objects are shared by the whole process",
    "agents/ferret_agents/capture/files.py": "opens the capture",
    "core/ferret_core/enb/driver.py": "puts the emulated eNB on sockets",
    "core/ferret_core/driver": "puts the core's NFs on sockets",
    "core/ferret_core/commands": "runs the core's NFs and devices as processes",
}


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from random import Random` takes a type, not the world's randomness
            if node.module == "random" and {a.name for a in node.names} <= {"Random"}:
                continue
            found.add(node.module)
    return found


def test_imports_point_one_way() -> None:
    breaches = []
    for name, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            for module in _imports(path):
                top = module.split(".")[0]
                if top in PACKAGES and top != name and top not in MAY_IMPORT[name]:
                    breaches.append(f"{path.relative_to(ROOT)} imports {module}")
    assert breaches == []


def test_engines_do_no_input_or_output() -> None:
    breaches = []
    for folder in ENGINES:
        for path in (ROOT / folder).rglob("*.py"):
            relative = str(path.relative_to(ROOT))
            if any(relative == rim or relative.startswith(f"{rim}/") for rim in RIMS):
                continue
            bad = {m.split(".")[0] for m in _imports(path)} & IO_MODULES
            breaches.extend(f"{relative} imports {module}" for module in sorted(bad))
    assert breaches == []


def test_every_rim_that_is_listed_exists() -> None:
    assert [rim for rim in RIMS if not (ROOT / rim).exists()] == []


def test_the_product_has_no_assert_and_no_unfinished_marks() -> None:
    breaches = []
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X:", "NotImplemented" + "Error")
    for folder in PACKAGES.values():
        for path in folder.rglob("*.py"):
            text = path.read_text()
            breaches.extend(f"{path.relative_to(ROOT)}: {mark}" for mark in marks if mark in text)
            breaches.extend(
                f"{path.relative_to(ROOT)}:{node.lineno}: assert"
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Assert)
            )
    assert breaches == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    found = [p for folder in PACKAGES.values() for p in folder.rglob("*.py") if p.stem in drawers]
    assert found == []
