import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferret.errors import ConfigError
from ferret.replay.translation import Domain, Pair, Translation, canonical, teid_scope


def test_a_learnt_pair_translates_both_ways() -> None:
    translation = Translation()
    assert translation.learn([Pair(Domain.SESSION_ID, "pcscf;1;2", "edge;7;8")]) == []
    assert translation.edge(Domain.SESSION_ID, "pcscf;1;2") == "edge;7;8"
    assert translation.recorded(Domain.SESSION_ID, "edge;7;8") == "pcscf;1;2"
    assert translation.edge(Domain.SESSION_ID, "other") is None


def test_a_teid_belongs_to_the_nf_that_allocated_it() -> None:
    translation = Translation()
    sgw, pgw = teid_scope(11, "172.22.0.3"), teid_scope(7, "172.22.0.4")
    faults = translation.learn(
        [
            Pair(Domain.TEID, 1, 0x100, sgw, teid_scope(11, "127.0.0.3")),
            Pair(Domain.TEID, 1, 0x200, pgw, teid_scope(7, "127.0.0.4")),
        ]
    )
    assert faults == []
    assert translation.edge(Domain.TEID, "0x00000001", sgw) == 0x100
    assert translation.edge(Domain.TEID, 1, pgw) == 0x200
    assert translation.edge(Domain.TEID, 1) is None


def test_a_second_edge_value_for_a_recorded_one_is_reported_and_the_first_stays() -> None:
    translation = Translation()
    translation.learn([Pair(Domain.TAG, "a", "x")])
    (fault,) = translation.learn([Pair(Domain.TAG, "a", "y", parameter="To/tag")])
    assert (fault.known_recorded, fault.known_edge) == ("a", "x")
    assert "a -> y, although a -> x is known" in str(fault)
    assert translation.edge(Domain.TAG, "a") == "x"


def test_two_recorded_values_for_one_edge_value_are_reported() -> None:
    translation = Translation()
    translation.learn([Pair(Domain.CALL_ID, "a", "x")])
    (fault,) = translation.learn([Pair(Domain.CALL_ID, "b", "x")])
    assert (fault.known_recorded, fault.known_edge) == ("a", "x")
    assert translation.edge(Domain.CALL_ID, "b") is None


def test_addresses_of_two_nfs_may_come_together_at_the_edge() -> None:
    translation = Translation()
    pairs = [
        Pair(Domain.ADDRESS, "172.22.0.3", "127.0.0.3", "11", "11"),
        Pair(Domain.ADDRESS, "172.22.0.6", "127.0.0.3", "11", "11"),
    ]
    assert translation.learn(pairs) == []


def test_the_newest_mapping_of_a_transient_identifier_holds() -> None:
    translation = Translation()
    translation.learn([Pair(Domain.SEQUENCE, 3, 30), Pair(Domain.SEQUENCE, 4, 40)])
    assert translation.learn([Pair(Domain.SEQUENCE, 3, 40)]) == []
    assert translation.edge(Domain.SEQUENCE, 3) == 40
    assert translation.recorded(Domain.SEQUENCE, 40) == 3
    assert translation.edge(Domain.SEQUENCE, 4) is None


def test_teid_zero_and_the_unspecified_address_are_never_mapped() -> None:
    translation = Translation()
    translation.learn([Pair(Domain.TEID, 0, 0), Pair(Domain.UE_IP, "0.0.0.0", "10.0.0.1")])
    assert len(translation) == 0


def test_a_released_identifier_may_be_given_out_anew() -> None:
    translation = Translation()
    translation.learn([Pair(Domain.MME_UE_S1AP_ID, 1, 7)])
    translation.forget(Domain.MME_UE_S1AP_ID, 1)
    assert translation.learn([Pair(Domain.MME_UE_S1AP_ID, 1, 8), Pair(Domain.MME_UE_S1AP_ID, 2, 7)]) == []


def test_a_seeded_host_is_found_with_and_without_its_port() -> None:
    translation = Translation(
        {"172.22.0.20:6060": "127.0.0.6:5060", "172.22.0.3": "127.0.0.3", "scscf.ims.example": "edge.ims.example"}
    )
    assert translation.endpoint("172.22.0.20", 6060) == ("127.0.0.6", 5060)
    assert translation.endpoint("172.22.0.3", 2123) == ("127.0.0.3", 2123)
    assert translation.endpoint("192.0.2.9", 5060) == ("192.0.2.9", 5060)
    assert translation.edge(Domain.ADDRESS, "172.22.0.3", "11") == "127.0.0.3"
    assert translation.edge(Domain.ORIGIN_HOST, "SCSCF.ims.example") == "edge.ims.example"
    assert translation.recorded(Domain.ADDRESS, "127.0.0.3", "11") == "172.22.0.3"


def test_hosts_in_a_text_are_replaced_and_nothing_else() -> None:
    translation = Translation({"172.22.0.2": "127.0.0.2", "172.22.0.20:6060": "127.0.0.6", "2001:db8::1": "::1"})
    assert translation.text("<sip:mo@172.22.0.20:6060;lr>") == "<sip:mo@127.0.0.6:6060;lr>"
    assert translation.text("<sip:172.22.0.20;lr>") == "<sip:172.22.0.20;lr>"
    assert translation.text("sip:a@[2001:DB8::1]:5060") == "sip:a@[::1]:5060"
    assert translation.text("172.22.0.2 and 172.22.0.21") == "127.0.0.2 and 172.22.0.21"


@given(st.text(max_size=60))
def test_a_text_without_known_hosts_stays_as_it_is(text: str) -> None:
    same = Translation({"172.22.0.2": "172.22.0.2", "2001:db8::1": "2001:db8::1"})
    assert same.text(text) == text


@given(st.sampled_from(["[2001:DB8::1]:5060", "172.22.0.2:5060", "[2001:db8:0::1]"]))
def test_an_identity_translation_leaves_the_spelling_alone(text: str) -> None:
    same = Translation({"172.22.0.2": "172.22.0.2", "2001:db8::1": "2001:db8::1"})
    assert same.text(text) == text


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (Domain.TEID, "0x0a", 10),
        (Domain.TEID, 10, 10),
        (Domain.MME_UE_S1AP_ID, "17", 17),
        (Domain.UE_IP, "2001:0DB8::0001", "2001:db8::1"),
        (Domain.ORIGIN_HOST, "HSS.Example", "hss.example"),
        (Domain.CALL_ID, "AbC", "AbC"),
    ],
)
def test_values_are_known_in_one_form(domain: Domain, value: str | int, expected: str | int) -> None:
    assert canonical(domain, value) == expected


_PAIRS = st.lists(
    st.builds(
        Pair,
        st.sampled_from([Domain.TEID, Domain.TAG, Domain.SEQUENCE]),
        st.integers(1, 6),
        st.integers(1, 6),
        st.sampled_from(["", "a"]),
        st.sampled_from(["", "b"]),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(_PAIRS)
def test_whatever_is_learnt_the_translation_stays_one_to_one(pairs: list[Pair]) -> None:
    translation = Translation()
    translation.learn(pairs)
    for domain in (Domain.TEID, Domain.TAG, Domain.SEQUENCE):
        mappings = [m for m in translation.snapshot()["mappings"] if m[0] == domain]
        assert len({(scope, value) for _, scope, value, _, _ in mappings}) == len(mappings)
        assert len({(scope, value) for *_, scope, value in mappings}) == len(mappings)
        for _, scope, value, edge_scope, edge_value in mappings:
            assert translation.edge(domain, value, scope) == edge_value
            assert translation.recorded(domain, edge_value, edge_scope) == value


@given(_PAIRS)
def test_a_pair_that_was_taken_over_is_never_lost_but_for_transient_ones(pairs: list[Pair]) -> None:
    translation = Translation()
    lasting = [pair for pair in pairs if pair.domain is not Domain.SEQUENCE]
    kept = [pair for pair in lasting if not translation.learn([pair])]
    for pair in kept:
        assert translation.edge(pair.domain, pair.recorded, pair.recorded_scope) == canonical(pair.domain, pair.edge)
        assert translation.learn([pair]) == []


@given(_PAIRS)
def test_a_snapshot_survives_json(pairs: list[Pair]) -> None:
    translation = Translation({"172.22.0.2": "127.0.0.2"})
    translation.learn(pairs)
    restored = Translation.restore(json.loads(json.dumps(translation.snapshot())))
    assert restored.snapshot() == translation.snapshot()
    assert restored.text("172.22.0.2") == "127.0.0.2"


@pytest.mark.parametrize(
    "snapshot", [{}, {"version": 2}, {"version": 1}, {"version": 1, "mappings": [["nonsense", "", 1, "", 2]]}]
)
def test_a_damaged_snapshot_is_refused(snapshot: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="translation snapshot"):
        Translation.restore(snapshot)
