"""The compose files themselves: docker-compose takes them, and in each an agent stands beside every NF."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = {
    "lab": ("compose.lab.yaml",),
    "kamailio": ("compose.lab.yaml", "compose.kamailio.yaml"),
    "open5gs": ("compose.open5gs.yaml",),
}
BESIDE = {
    "lab": {"hss", "pcrf", "mme", "sgw", "pgw", "icscf", "scscf", "pcscf"},
    "kamailio": {"hss", "pcrf", "mme", "sgw", "pgw", "icscf", "scscf", "pcscf"},
    "open5gs": {"hss", "pcrf", "mme", "sgwc", "smf", "icscf", "scscf", "pcscf"},
}
needs_compose = pytest.mark.skipif(
    shutil.which("docker-compose") is None,
    reason="SKIPPED LOUDLY: the compose files are NOT checked: apt-get install docker-compose",
)


@cache
def _config(which: str) -> str:
    """The composition as docker-compose understands it."""
    named = [word for file in FILES[which] for word in ("--file", str(DEPLOY / file))]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_IMAGE")}
    done = subprocess.run(
        ("docker-compose", *named, "--profile", "hand", "config"),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def _services(text: str) -> dict[str, str]:
    """The text of each service."""
    body = re.split(r"^services:\n", text, flags=re.M)[1]
    body = re.split(r"^\S", body, maxsplit=1, flags=re.M)[0]
    parts = re.split(r"^  ([\w-]+):\n", body, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@needs_compose
@pytest.mark.parametrize("which", FILES)
def test_an_agent_shares_the_network_of_each_nf_and_the_queue_of_the_recorder(which: str) -> None:
    services = _services(_config(which))
    agents = {name.removeprefix("agent-"): text for name, text in services.items() if name.startswith("agent-")}
    assert set(agents) == BESIDE[which]
    for nf, text in agents.items():
        assert f"network_mode: service:{nf}\n" in text
        assert "ipc: service:ipc\n" in text
        own = re.search(r"ipv4_address: (\S+)", services[nf])
        assert own is not None
        assert f"- {own.group(1)}\n" in text
    assert "ipc: service:ipc\n" in services["recorder"]
    assert "ipc: shareable\n" in services["ipc"]
    assert {name for name in services if name.startswith("edge-")} >= {"edge-mme", "edge-sgw", "edge-pgw", "edge-pcrf"}


@needs_compose
def test_images_of_others_are_arguments() -> None:
    services = _services(_config("open5gs"))
    assert "image: gradiant/open5gs:2.7.7\n" in services["mme"]
    assert "image: ghcr.io/kamailio/kamailio:" in services["pcscf"]
    assert "image: mongo:" in services["mongo"]
    assert "image: ferret:latest\n" in services["recorder"]


def test_open5gs_subscribers_are_those_of_the_lab() -> None:
    from ferret_core.driver.configuration import LabNetwork
    from ferret_core.driver.places import Places

    text = (DEPLOY / "open5gs" / "subscribers.js").read_text()
    for one in LabNetwork(Places.within("10.71.0.0/24")).subscribers:
        assert f'subscriber("{one.imsi}", "{one.msisdn}", "{one.opc.hex()}")' in text
        assert one.key.hex() == one.imsi.rjust(32, "f")


@needs_compose
@pytest.mark.parametrize("nf", ["mme", "sgwc", "sgwu", "smf", "upf", "hss", "pcrf"])
def test_every_open5gs_nf_has_its_file_and_its_own_address_in_it(nf: str) -> None:
    services = _services(_config("open5gs"))
    text = (DEPLOY / "open5gs" / f"{nf}.yaml").read_text()
    own = re.search(r"ipv4_address: (\S+)", services[nf])
    assert own is not None
    assert own.group(1) in text
    assert f"- /config/{nf}.yaml\n" in services[nf] or f"-c /config/{nf}.yaml" in services[nf]
