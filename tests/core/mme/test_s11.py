"""What an MME puts into messages on S11."""

from __future__ import annotations

import pytest

from ferret_core.mme.s11 import indication


@pytest.mark.parametrize("names,length,octets", [(["OI"], 0, "0800"), (["OI"], 4, "08000000"), ([], 2, "0000")])
def test_an_indication_has_two_octets_at_least(names: list[str], length: int, octets: str) -> None:
    made = indication(names, length)
    assert made is not None and made.octets.hex() == octets


def test_without_a_flag_to_set_there_is_no_indication() -> None:
    assert indication([], 0) is None
