"""The configuration: checked at start, all faults together, unknown keys refused; flags, environment, file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferret.errors import ConfigError
from ferret_agents.live import settings
from ferret_agents.live.agent import Capture
from ferret_agents.live.hep import HepConfig
from ferret_agents.live.settings import load, of_process, read

WHOLE = """
queue = "/core"
http = "127.0.0.1:9101"
user = "ferret"
drain_s = 2
log_level = "warning"

[buffer]
memory_mb = 2
spill_directory = "/var/spool/ferret"
spill_mb = 10

[interface.eth0]
addresses = ["192.0.2.1", "2001:db8::1"]
ports = [2123]
filter = "not host 192.0.2.99"
mirror = true
capture = "buffered"
period_ms = 4
kernel_mb = 16
processes = 2

[interface.sgw]
device = "lo"
addresses = ["192.0.2.2"]
name = "SGW"

[names]
"192.0.2.1" = "MME"

[pcapng]
directory = "/var/lib/ferret"
files = 3

[hep]
host = "192.0.2.200"
capture_id = 7
"""


def written(path: Path, text: str) -> Path:
    (path / "agent.toml").write_text(text)
    return path / "agent.toml"


def test_everything_that_can_be_said_is_understood(tmp_path: Path) -> None:
    found = load(written(tmp_path, WHOLE), {})
    assert (found.queue, found.http, found.user, found.drain_s) == ("/core", ("127.0.0.1", 9101), "ferret", 2)
    assert (found.log_level, found.processes, len(found.agents)) == ("warning", 2, 3)
    first, second, sgw = found.agents
    assert (first.interfaces, first.addresses, first.ports) == (("eth0",), ("192.0.2.1", "2001:db8::1"), (2123,))
    assert (first.filter, first.mirrored, first.capture) == ("not host 192.0.2.99", True, Capture.BUFFERED)
    assert (first.period_ms, first.receive_buffer, first.spill_octets) == (4, 16 << 20, 10 << 20)
    assert (first.buffer.octets, first.spill_directory) == (2 << 20, Path("/var/spool/ferret"))
    assert first.fanout == second.fanout is not None
    assert len({one.process for one in found.agents}) == 3
    assert (sgw.interfaces, sgw.agent, sgw.fanout) == (("lo",), "SGW", None)
    assert sgw.hep == HepConfig("192.0.2.200", 9060, capture_id=7)
    assert sgw.files is not None
    assert (sgw.files.files, sgw.files.names) == (3, {"192.0.2.1": "MME"})
    assert [one.agent for one in of_process(found, 0)] == ["192.0.2.1", "SGW"]
    assert [one.agent for one in of_process(found, 1)] == ["192.0.2.1"]


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    text = """
colour = "blue"
drain_s = -1
log_level = "loud"
http = "somewhere"
[buffer]
memory_mb = "much"
[interface.eth0]
addresses = ["mme"]
[interface.eth1]
ports = [70000]
speed = 5
processes = 99
mirror = 1
[names]
mme = "MME"
[pcapng]
files = 3
[hep]
port = 0
"""
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text), {"FERRET_BUFFER_SPILL_MB": "lots"})
    said = str(caught.value)
    assert "\n" not in said
    for fault in (
        "agent.toml: ", "colour is not known", "drain_s lies between 0 and 3600, not at -1.0", "log_level is one of",
        "http somewhere: host and port are wanted", "buffer.memory_mb: a whole number is wanted, not 'much'",
        "interface.eth0: 'mme' is not an IP address", "interface.eth1: a port lies between 1 and 65535",
        "interface.eth1.speed is not known", "interface.eth1.processes lies between 1 and 16",
        "interface.eth1.mirror: true or false is wanted", "names: 'mme' is not an IP address",
        "pcapng.directory is missing", "hep.port lies between 1 and 65535, not at 0", "hep.host is missing",
        "FERRET_BUFFER_SPILL_MB: a whole number is wanted, not 'lots'",
    ):  # fmt: skip
        assert fault in said


def test_flags_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    environment = {"FERRET_QUEUE": "/environment", "FERRET_USER": "nobody", "FERRET_BUFFER_MEMORY_MB": "5"}
    found = load(path, environment, {"queue": "/flag"})
    assert (found.queue, found.user, found.agents[0].buffer.octets) == ("/flag", "nobody", 5 << 20)


@pytest.mark.parametrize(
    ("text", "fault"),
    [("a = ", "is no TOML"), ("", r"no \[interface.NAME\] section"), ("interface = 5", r"no \[interface.NAME\]")],
)
def test_what_is_no_configuration_is_said(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load(written(tmp_path, text), {})


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "agent.toml")


def test_the_example_in_the_documentation_is_a_configuration(tmp_path: Path) -> None:
    assert settings.__doc__ is not None
    example = "\n".join(line[4:] for line in settings.__doc__.splitlines()[1:] if line.startswith("    "))
    assert load(written(tmp_path, example), {}).agents[0].interfaces == ("eth0",)


def test_at_most_sixteen_sections_have_their_place() -> None:
    with pytest.raises(ConfigError, match=r"interface\.i16: at most 16 sections"):
        read({"interface": {f"i{number}": {} for number in range(17)}})


def test_the_page_about_agents_shows_a_configuration(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "agents.md").read_text()
    example = page.split("```toml\n")[1].split("```")[0]
    found = load(written(tmp_path, example), {})
    assert [one.interfaces for one in found.agents] == [("eth0",), ("eth0",)]
    assert found.agents[0].hep is not None
    assert found.agents[0].files is not None
