"""One engine and one image for all tests of this folder; without an engine they are skipped, loudly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.engine import BASE, IMAGE, KAMAILIO_IMAGE, Engine, EngineMissingError, engine


@pytest.fixture(scope="package")
def container_engine() -> Iterator[Engine]:
    """An engine with FERRET's image; the first time on a machine this takes minutes."""
    try:
        with engine() as running:
            running.make_base()
            running.build("deploy/Dockerfile", IMAGE, BASE)
            yield running
    except EngineMissingError as error:
        pytest.skip(f"SKIPPED LOUDLY: FERRET in containers is NOT tested: {error}")


@pytest.fixture(scope="package")
def kamailio_image(container_engine: Engine) -> str:
    """Debian's Kamailio."""
    container_engine.build("deploy/kamailio/Dockerfile", KAMAILIO_IMAGE, BASE, "deploy/kamailio")
    return KAMAILIO_IMAGE
