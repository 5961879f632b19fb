"""Configuration, and contexts of devices that attached elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ferret.errors import ConfigError
from ferret.protocols import gtpv2

if TYPE_CHECKING:
    from tests.core.mme.conftest import Document, NewWorld

IMSI = "001010000000001"


def test_a_context_that_is_taken_over_gets_its_session_with_the_address_it_has(taken_over: NewWorld) -> None:
    world = taken_over()
    request = world.last("Create Session Request").message
    assert isinstance(request, gtpv2.Message)
    assert request.view(gtpv2.Paa) == gtpv2.Paa(1, "10.1.0.5")
    modify = world.last("Modify Bearer Request").message
    assert isinstance(modify, gtpv2.Message)
    assert modify.bearer_contexts[0].view(gtpv2.FTeid) == gtpv2.f_teid(0, 7, "192.0.2.30")
    assert world.noted("context_ready") == {"imsi": IMSI}


@pytest.mark.parametrize(
    "bad", [{"colour": "blue"}, {"imsi": ""}, {"bearers": [{"ebi": "five"}]}, {"k_asme": "no hex"}]
)
def test_a_context_of_no_use_is_refused(new_world: NewWorld, document: Document, bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        new_world().mme.import_context({"ue_contexts": [document(**bad)]}, 0.0)


def test_configuration_that_is_not_known_is_refused_with_all_its_faults(new_world: NewWorld) -> None:
    with pytest.raises(ConfigError, match=r"unknown key mme\.colour.*mme\.relative_capacity"):
        new_world().mme.import_context({"colour": 1, "relative_capacity": "much"}, 0.0)
