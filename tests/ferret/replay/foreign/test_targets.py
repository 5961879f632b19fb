"""Who is replayed at, and where stand-ins are: options, configuration file, and every fault at once."""

from __future__ import annotations

import pytest

from ferret.errors import ConfigError
from ferret.records.message import Role
from ferret.replay.foreign.targets import DEFAULT_NETWORK, NAMES, Target, read_setting


def test_a_target_has_its_protocols_port_unless_another_is_given() -> None:
    setting = read_setting(["sgw=127.0.0.3", "pcrf=10.0.0.9:3873", "mme=[fd00::2]", "P-CSCF=[fd00::5]:5070"])
    assert setting.targets == (
        Target(Role.SGW, "127.0.0.3", 2123),
        Target(Role.PCRF, "10.0.0.9", 3873),
        Target(Role.MME, "fd00::2", 36412),
        Target(Role.PCSCF, "fd00::5", 5070),
    )
    assert setting.roles == {Role.SGW, Role.PCRF, Role.MME, Role.PCSCF}
    assert str(setting.target(Role.PCRF)) == "PCRF 10.0.0.9:3873"


def test_open5gs_names_are_understood() -> None:
    assert NAMES["smf"] is Role.PGW
    assert NAMES["sgwc"] is Role.SGW


def test_stand_ins_have_an_address_each_or_one_together_or_one_that_is_given() -> None:
    each = read_setting(["sgw=127.0.0.3"]).stand_ins
    assert each.network == DEFAULT_NETWORK
    assert each.address(Role.MME) != each.address(Role.PGW)
    one = read_setting(["sgw=10.0.0.3"], ["10.0.0.77"]).stand_ins
    assert one.alone
    assert one.address(Role.MME) == one.address(Role.PGW) == "10.0.0.77"
    some = read_setting(["sgw=127.0.0.3"], ["127.0.9.0/24", "mme=127.0.8.8", "pcrf=127.0.8.9:3870"]).stand_ins
    assert (some.address(Role.MME), some.address(Role.PGW)) == ("127.0.8.8", "127.0.9.4")
    assert (some.port(Role.PCRF, 3868), some.port(Role.HSS, 3868)) == (3870, 3868)


def test_of_an_ims_the_p_cscf_is_the_af() -> None:
    stand_ins = read_setting(["pcrf=127.0.0.9"], ["pcscf=127.0.8.1:3871"]).stand_ins
    assert stand_ins.address(Role.AF) == stand_ins.address(Role.PCSCF) == "127.0.8.1"
    assert stand_ins.port(Role.AF, 3868) == 3871


def test_options_win_over_the_file() -> None:
    text = """
    [targets]
    sgw = "127.0.0.3"
    smf = "127.0.0.4"
    [local]
    network = "127.0.9.0/24"
    [identities]
    pcrf = "pcrf.localdomain"
    """
    setting = read_setting(["sgw=127.0.0.33"], ["127.0.8.0/24"], ["hss=hss.localdomain"], text)
    assert setting.target(Role.SGW).address == "127.0.0.33"
    assert setting.target(Role.PGW).address == "127.0.0.4"
    assert setting.stand_ins.network == "127.0.8.0/24"
    assert setting.stand_ins.identities == {Role.PCRF: "pcrf.localdomain", Role.HSS: "hss.localdomain"}


def test_all_faults_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        read_setting(
            ["sgw", "ocs=127.0.0.1", "pcrf=example.org", "mme=127.0.0.2:99999"],
            ["127.0.0.0/23", "nobody=1.2.3.4"],
            ["pcrf="],
        )
    assert str(caught.value).count(";") == 6


@pytest.mark.parametrize(
    "text",
    [
        "targets = 1",
        "[targets]\nsgw = 3",
        "[somewhere]\nx = 1",
        "[targets\n",
        '[targets]\nsgw = "nowhere"',
    ],
)
def test_a_file_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_setting([], text=text)


def test_two_targets_cannot_be_at_one_place() -> None:
    with pytest.raises(ConfigError, match="same address and port"):
        read_setting(["sgw=127.0.0.3", "pgw=127.0.0.3"])


def test_there_is_no_target_of_a_role_that_was_not_named() -> None:
    with pytest.raises(ConfigError, match="no target is a MME"):
        read_setting(["sgw=127.0.0.3"]).target(Role.MME)
