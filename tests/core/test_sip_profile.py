"""An operator's habits in a form that holds for any NF: blanks in place of its addresses."""

from __future__ import annotations

import pytest

from ferret_core.sip_profile import with_blank


@pytest.mark.parametrize(
    ("value", "host", "form"),
    [
        ("<sip:term@172.22.0.21;lr>", "172.22.0.21", "<sip:term@{host};lr>"),
        ("<sip:term@[2001:db8::21];lr>", "2001:db8::21", "<sip:term@{host};lr>"),
        ("icid-generated-at=2001:db8::21", "2001:db8::21", "icid-generated-at={host}"),
        ("<sip:term@[2001:db8::21]:6060;lr>", "2001:db8::21", "<sip:term@{host}:6060;lr>"),
    ],
)
def test_an_address_leaves_a_blank_without_the_brackets_that_ipv6_has(value: str, host: str, form: str) -> None:
    assert with_blank(value, host, "{host}") == form
