"""MILENAGE against the test sets of TS 35.208 clause 4.3."""

from __future__ import annotations

import pytest

from ferret.protocols.nas import Milenage, derive_opc

# K, RAND, SQN, AMF, OP, OPc, f1, f1*, f2, f5, f3, f4, f5*
SET_1 = (
    "465b5ce8b199b49faa5f0a2ee238a6bc 23553cbe9637a89d218ae64dae47bf35 ff9bb4d0b607 b9b9 "
    "cdc202d5123e20f62b6d676ac72cb318 cd63cb71954a9f4e48a5994e37a02baf 4a9ffac354dfafb3 01cfaf9ec4e871e9 "
    "a54211d5e3ba50bf aa689c648370 b40ba9a3c58b2a05bbf0d987b21bf8cb f769bcd751044604127672711c6d3441 451e8beca43b"
)
SET_3 = (
    "fec86ba6eb707ed08905757b1bb44b8f 9f7c8d021accf4db213ccff0c7f71a6a 9d0277595ffc 725c "
    "dbc59adcb6f9a0ef735477b7fadf8374 1006020f0a478bf6b699f15c062e42b3 9cabc3e99baf7281 95814ba2b3044324 "
    "8011c48c0c214ed2 33484dc2136b 5dbdbb2954e8f3cde665b046179a5098 59a92d3b476a0443487055cf88b2307b deacdd848cc6"
)


@pytest.mark.parametrize("vector", [SET_1, SET_3])
def test_every_function_gives_what_the_specification_gives(vector: str) -> None:
    key, rand, sqn, amf, op, opc, f1, f1_star, f2, f5, f3, f4, f5_star = map(bytes.fromhex, vector.split())
    assert derive_opc(key, op) == opc
    functions = Milenage(key, opc)
    assert functions.f1(rand, sqn, amf) == f1
    assert functions.f1_star(rand, sqn, amf) == f1_star
    assert functions.f2(rand) == f2
    assert functions.f3(rand) == f3
    assert functions.f4(rand) == f4
    assert functions.f5(rand) == f5
    assert functions.f5_star(rand) == f5_star


def test_a_challenge_is_accepted_by_who_shares_the_key_and_by_nobody_else() -> None:
    key, rand, sqn, amf, _, opc, *_ = map(bytes.fromhex, SET_1.split())
    challenge = Milenage(key, opc).autn(rand, sqn, amf)
    assert Milenage(key, opc).check(rand, challenge) == sqn
    assert Milenage(key, bytes(16)).check(rand, challenge) is None
    assert len(Milenage(key, opc).auts(rand, sqn)) == 14
