"""The operator's switches, read from TOML."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError
from ferret.fallback.services import KNOWN, ServicePolicy, parse_services, read_services

IMSI = "999700000000020"


def test_a_service_that_is_switched_on_has_its_policy() -> None:
    text = """
    [services.volte]
    enabled = true
    subscribers = ["*"]
    max_fallback_ms = 800
    [services.web]
    enabled = false
    """
    services = parse_services(text, "ferret.toml")
    assert services.policy("volte", IMSI) == ServicePolicy(enabled=True, max_fallback_ms=800)
    assert services.policy("web", IMSI) is None


def test_a_service_that_is_not_named_is_off() -> None:
    assert parse_services("", "ferret.toml").policy("volte", IMSI) is None


def test_a_service_that_is_named_is_off_until_it_is_enabled() -> None:
    assert parse_services("[services.volte]\n", "ferret.toml").policy("volte", IMSI) is None


def test_other_tables_of_the_file_are_not_looked_at() -> None:
    assert parse_services("[logs]\nformat = 'json'\n[services.volte]\nenabled = true\n", "f").policy("volte", IMSI)


@pytest.mark.parametrize(
    ("pattern", "covered"), [("*", True), (IMSI, True), ("99970*", True), ("99971*", False), ("999700000000021", False)]
)
def test_subscribers_are_named_whole_or_by_how_they_begin(pattern: str, covered: bool) -> None:
    assert ServicePolicy(enabled=True, subscribers=(pattern,)).covers(IMSI) is covered


def test_a_subscriber_without_a_known_imsi_is_never_moved() -> None:
    assert not ServicePolicy(enabled=True).covers("msisdn:4912345")


def test_all_faults_are_reported_together() -> None:
    text = """
    [services.volte]
    enabled = "yes"
    subscribers = ["*", "abc", 7]
    max_fallback_ms = 0
    colour = "blue"
    [services.web]
    enabled = true
    [services.fax]
    """
    with pytest.raises(ConfigError) as caught:
        parse_services(text, "ferret.toml")
    assert str(caught.value) == (
        "ferret.toml: services.volte.enabled: must be true or false; "
        'services.volte.subscribers: entry 2 is neither an IMSI (digits as text) nor its beginning and "*"; '
        'services.volte.subscribers: entry 3 is neither an IMSI (digits as text) nor its beginning and "*"; '
        "services.volte.max_fallback_ms: must be a whole number from 10 to 60000 (milliseconds); "
        "services.volte: unknown key 'colour'; "
        "services.web.enabled: only calls (volte, video) can be moved to the edge; "
        "services.fax: not a service, those are volte, video, web"
    )


@pytest.mark.parametrize(
    "text", ["services = 1", "services.volte = true", "[services.volte]\nsubscribers = []", "[services.volte"]
)
def test_what_is_no_table_of_services_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_services(text, "ferret.toml")


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_keys = st.sampled_from(["enabled", "subscribers", "max_fallback_ms", "max_wait_ms", "x"])


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from([*KNOWN, "x"]), st.dictionaries(_keys, _values) | _values) | _values)
def test_any_table_is_read_or_refused_with_a_reason(table: object) -> None:
    try:
        services = read_services(table, "f")
    except ConfigError as fault:
        assert str(fault).startswith("f: ")
    else:
        assert all(isinstance(policy, ServicePolicy) for policy in services.policies.values())
