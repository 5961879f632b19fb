"""Who owns which identifier, and when two are one."""

from __future__ import annotations

import pytest

from ferret.protocols.summary import Identifier, IdKind
from ferret.records.identities import Registry, device_address, permanent, private, public

HOME = "ims.mnc070.mcc999.3gppnetwork.org"


@pytest.mark.parametrize(
    ("identity", "says"),
    [
        (f"sip:999700000000020@{HOME}", [("imsi", "999700000000020")]),
        (f"sip:491700000020@{HOME}", [("msisdn", "491700000020")]),
        ("tel:+49-170-0000020", [("msisdn", "491700000020")]),
        ("sip:0198765432100;phone-context=x@ims.example;user=phone", [("msisdn", "0198765432100")]),
        ("sip:alice@example.com;transport=udp", [("other", "sip:alice@example.com")]),
        ("sip:999700000000021@10.46.0.3:5060", []),
        ("sip:pcscf.ims.example", []),
        ("", []),
    ],
)
def test_what_a_public_identity_says(identity: str, says: list[tuple[str, str]]) -> None:
    assert public(identity) == says


def test_a_private_identity_made_from_an_imsi_says_the_imsi() -> None:
    assert private(f"999700000000020@{HOME}") == [("imsi", "999700000000020")]
    assert private("alice@example.com") == [("other", "alice@example.com")]


def test_a_uri_at_a_device_says_its_address() -> None:
    assert device_address("sip:999700000000021@10.46.0.3:5060") == "10.46.0.3"
    assert device_address("sip:a@[2001:0db8::1]") == "2001:db8::1"
    assert device_address("sip:a@example.com") == device_address("sip:10.0.0.1") == ""


def test_an_msisdn_that_carries_a_scheme_is_read_all_the_same() -> None:
    assert permanent([Identifier(IdKind.MSISDN, "tel:0298765432100")]) == [("msisdn", "0298765432100")]


def test_what_is_named_together_is_one_subscriber() -> None:
    registry = Registry()
    by_number = registry.identified([("msisdn", "491")])
    together = registry.identified([("imsi", "001"), ("msisdn", "491")])
    assert by_number is not None and together is not None
    assert by_number.root is together
    assert together.key == "001"


def test_subscribers_with_different_imsis_are_never_merged() -> None:
    registry = Registry()
    one, other = registry.identified([("imsi", "001")]), registry.identified([("imsi", "002")])
    assert one is not None and other is not None
    assert registry.merge(one, other) is one
    assert (one.root, other.root) == (one, other)
    registry.identified([("imsi", "001"), ("msisdn", "491")])
    assert registry.identified([("imsi", "002"), ("msisdn", "491")]) is other
    assert registry.owner(("msisdn", "491")) is one


def test_an_identifier_goes_to_whom_it_was_lent_last() -> None:
    registry = Registry()
    one, other = registry.new(), registry.new()
    registry.lend(("teid", "1"), one)
    registry.lend(("teid", "1"), other)
    assert registry.owner(("teid", "1")) is other
    assert one.root is one


def test_an_anonymous_subscriber_takes_everything_with_it_when_it_is_recognised() -> None:
    registry = Registry()
    anonymous, known = registry.reach("10.46.0.2"), registry.identified([("imsi", "001")])
    assert known is not None
    assert anonymous.key == "ip:10.46.0.2"
    registry.merge(anonymous, known)
    assert anonymous.key == "001"
    assert registry.owner(("ue_ip", "10.46.0.2")) is known
    assert known.addresses == ["10.46.0.2"]


def test_a_subscriber_of_whom_nothing_is_known_has_a_name_all_the_same() -> None:
    registry = Registry()
    assert [registry.new().key, registry.new().key] == ["unknown-1", "unknown-2"]
