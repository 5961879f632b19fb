"""Captures damaged at random, by seed: never an exception but FerretError, never a hang, memory bounded."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import click
import pytest
from rich.console import Console

from ferret.commands.output import print_json, printable
from ferret.errors import FerretError
from ferret.ladder import html_page, ladder_of, text_lines
from ferret_agents.commands.overview import introduction, overview, print_overview
from ferret_agents.pipeline import RecordedFile, record_file

SEEDS = 200
BATCH = 20
WINDOW = 90  # frames of a capture that one variant is made of: small, so that there can be many
MAX_SECONDS = 10.0  # a variant takes 0.1 s; a hang is something else
MAX_OCTETS = 200 << 20
DATA = Path(__file__).parents[1] / "data"


@cache
def _sources() -> tuple[bytes, ...]:
    names = ("kamailio-ims-call", "open5gs-attach", "open5gs-idle-paging", "open5gs-volte", "volte-call-full")
    return tuple((DATA / f"{name}.pcap").read_bytes() for name in names)


def variant(seed: int, craft: SimpleNamespace) -> bytes:
    """A damaged capture: a window of a real one, with octets and frames flipped, deleted, doubled and swapped."""
    chance = random.Random(seed)
    source = chance.choice(_sources())
    frames = craft.read_pcap(source)
    begin = chance.randrange(max(1, len(frames) - WINDOW))
    frames = frames[begin : begin + WINDOW]
    for _ in range(chance.randrange(1, 30)):
        chance.choice((_flip, _flip, _delete_octets, _double_octets, _garble, _delete, _double, _swap, _cut))(
            frames, chance
        )
    octets = bytearray(craft.write_pcap(frames, source[:20]))
    if not seed % 4:  # the file itself
        for _ in range(chance.randrange(1, 6)):
            octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    if not seed % 7:
        del octets[chance.randrange(len(octets)) :]
    return bytes(octets)


def _flip(frames: list[Any], chance: random.Random) -> None:
    octets, place = _one(frames, chance)
    octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    _put(frames, place, octets)


def _garble(frames: list[Any], chance: random.Random) -> None:
    octets, place = _one(frames, chance)
    at = chance.randrange(len(octets))
    octets[at : at + 8] = chance.randbytes(8)
    _put(frames, place, octets)


def _delete_octets(frames: list[Any], chance: random.Random) -> None:
    octets, place = _one(frames, chance)
    at = chance.randrange(len(octets))
    del octets[at : at + chance.randrange(1, 40)]
    _put(frames, place, octets)


def _double_octets(frames: list[Any], chance: random.Random) -> None:
    octets, place = _one(frames, chance)
    at = chance.randrange(len(octets))
    octets[at:at] = octets[at : at + chance.randrange(1, 200)]
    _put(frames, place, octets)


def _cut(frames: list[Any], chance: random.Random) -> None:
    octets, place = _one(frames, chance)
    frames[place] = frames[place]._replace(octets=bytes(octets[: chance.randrange(len(octets))]))


def _delete(frames: list[Any], chance: random.Random) -> None:
    if len(frames) > 1:
        del frames[chance.randrange(len(frames))]


def _double(frames: list[Any], chance: random.Random) -> None:
    frames.insert(chance.randrange(len(frames)), chance.choice(frames))


def _swap(frames: list[Any], chance: random.Random) -> None:
    one, other = chance.randrange(len(frames)), chance.randrange(len(frames))
    frames[one], frames[other] = frames[other], frames[one]


def _one(frames: list[Any], chance: random.Random) -> tuple[bytearray, int]:
    place = chance.randrange(len(frames))
    return bytearray(frames[place].octets or b"\0"), place


def _put(frames: list[Any], place: int, octets: bytearray) -> None:
    frames[place] = frames[place]._replace(octets=bytes(octets), wire_length=len(octets))


def _say_everything(recorded: RecordedFile) -> None:
    """Everything that `ferret inspect` shows of it."""
    print_json(overview(recorded))
    print_overview(recorded, Console())
    click.echo(printable("\n".join(text_lines(ladder_of("all", recorded.capture.messages), 100))))
    html_page("all", introduction(recorded), [ladder_of("all", recorded.capture.messages)])


@pytest.mark.parametrize("batch", range(SEEDS // BATCH))
def test_a_damaged_capture_is_read_as_far_as_it_goes(batch: int, craft: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "damaged.pcap"
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        path.write_bytes(variant(seed, craft))
        begin = monotonic()
        try:
            _say_everything(record_file(path))
        except FerretError as error:
            assert "\n" not in str(error), seed
        except Exception as error:
            pytest.fail(f"seed {seed}: {error!r}")
        assert monotonic() - begin < MAX_SECONDS, seed


def test_damage_does_not_make_memory_grow(craft: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "damaged.pcap"
    tracemalloc.start()
    try:
        for seed in range(4):
            path.write_bytes(variant(seed, craft))
            try:
                record_file(path)
            except FerretError:
                continue
        assert tracemalloc.get_traced_memory()[1] < MAX_OCTETS
    finally:
        tracemalloc.stop()


def test_the_same_seed_makes_the_same_damage(craft: SimpleNamespace) -> None:
    assert variant(3, craft) == variant(3, craft) != variant(4, craft)


def test_damaged_pcapng_files_are_read_as_far_as_they_go(
    craft: SimpleNamespace, capture: Callable[[str], Path], tmp_path: Path
) -> None:
    frames = craft.read_pcap(capture("open5gs-attach.pcap").read_bytes())
    whole = craft.write_pcapng(frames)
    path = tmp_path / "damaged.pcapng"
    path.write_bytes(whole)
    assert len(record_file(path).capture.messages) == len(record_file(capture("open5gs-attach.pcap")).capture.messages)
    chance = random.Random(1)
    for number in range(60):
        octets = bytearray(whole)
        for _ in range(chance.randrange(1, 12)):
            octets[chance.randrange(len(octets) if number % 2 else 120)] ^= 1 << chance.randrange(8)
        path.write_bytes(octets)
        try:
            _say_everything(record_file(path))
        except FerretError as error:
            assert "\n" not in str(error), number
        except Exception as error:
            pytest.fail(f"variant {number}: {error!r}")
