"""Where the edge's NFs are."""

from __future__ import annotations

import pytest

from ferret.errors import ConfigError
from ferret.records.message import Role
from ferret_edge.site import Site


def test_every_nf_has_an_address_and_cscfs_speak_sip_there() -> None:
    site = Site.of("127.0.10.0/24")
    assert site.address(Role.PCSCF) == site.sip_address(Role.PCSCF) == "127.0.10.21"
    assert site.addresses()["127.0.10.2"] is Role.MME


def test_cscfs_may_speak_sip_over_ipv6_and_keep_their_other_address() -> None:
    site = Site.of("127.0.10.0/24", "2001:db8:20::/64")
    assert site.sip_address(Role.PCSCF) == "2001:db8:20::15"
    assert site.sip_address(Role.MME) == "127.0.10.2"
    known = site.addresses()
    assert known["2001:db8:20::15"] is known["127.0.10.21"] is Role.PCSCF


@pytest.mark.parametrize(
    ("network", "ipv6"), [("10.0.0.0/8", ""), ("x", ""), ("127.0.10.0/24", "2001:db8::/48"), ("127.0.10.0/24", "y")]
)
def test_networks_of_no_use_are_refused(network: str, ipv6: str) -> None:
    with pytest.raises(ConfigError, match="edge network"):
        Site.of(network, ipv6)
