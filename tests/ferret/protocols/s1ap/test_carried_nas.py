"""A ciphered NAS message that reads like a plain one by chance is not believed where it cannot be."""

from __future__ import annotations

import pytest

from ferret.protocols.s1ap.carried_nas import carried_nas

_PROTECTED = bytes.fromhex("27aabbccdd05")  # integrity protected and ciphered, MAC, sequence number
_AUTHENTICATION_RESPONSE = bytes.fromhex("0753080102030405060708")
_MODIFY_REQUEST = bytes.fromhex("7200c9")


@pytest.mark.parametrize("carrier", ["E-RABSetupRequest", "DownlinkNASTransport", "E-RABModifyRequest"])
def test_what_only_a_device_sends_is_ciphered_on_the_way_to_it(carrier: str) -> None:
    message = carried_nas(_PROTECTED + _AUTHENTICATION_RESPONSE, carrier)
    assert message.plain is None
    assert message.name == "ciphered NAS message"
    assert message.octets == _PROTECTED + _AUTHENTICATION_RESPONSE


def test_under_null_ciphering_it_reads_where_it_belongs() -> None:
    uplink = carried_nas(_PROTECTED + _AUTHENTICATION_RESPONSE, "UplinkNASTransport")
    assert uplink.name == "Authentication response"
    assert carried_nas(_PROTECTED + _MODIFY_REQUEST, "E-RABModifyRequest").name == "Modify EPS bearer context request"
    assert carried_nas(_PROTECTED + _MODIFY_REQUEST, "E-RABSetupRequest").plain is None


def test_what_is_not_ciphered_is_read_wherever_it_is() -> None:
    assert carried_nas(_AUTHENTICATION_RESPONSE, "E-RABSetupRequest").name == "Authentication response"
