"""What the lab in containers is asked to do, whoever its CSCFs are."""

from __future__ import annotations

from typing import Any, Final

from tests.containers.engine import Composition

EPC: Final = {"hss": "HSS", "pcrf": "PCRF", "mme": "MME", "sgw": "SGW", "pgw": "PGW"}
CSCFS: Final = {"icscf": "I-CSCF", "scscf": "S-CSCF", "pcscf": "P-CSCF"}
EDGE: Final = {"pcrf": "PCRF", "mme": "MME", "sgw": "SGW", "pgw": "PGW", "scscf": "S-CSCF", "pcscf": "P-CSCF"}
_SERVICES: Final = {"attach", "pdn:internet", "pdn:ims", "registration", "volte"}


def said_when_ready(cscfs: dict[str, str]) -> dict[str, str]:
    """What each service writes once it is there. `cscfs`: what those of the CSCFs write."""
    said = {nf: f"core {role} at" for nf, role in {**EPC, "remote": "remote"}.items()}
    said |= {f"agent-{nf}": "agent_started" for nf in (*EPC, *CSCFS)}
    said |= {f"edge-{nf}": f"edge {role} at" for nf, role in EDGE.items()}
    return said | {"recorder": "recorder_started"} | cscfs


def recorded_call(lab: Composition) -> dict[str, Any]:
    """A device attaches, registers, calls, holds, resumes, hangs up, leaves; the recordings of it, by service."""
    assert "device detached" in lab("up", "--no-build", "--no-deps", "device")
    lab("stop", "recorder")
    found = {one["service"]: one for one in lab.json("recordings", "--json")["recordings"]}
    assert set(found) == _SERVICES
    assert all(not one["holes"] and one["quality"] > 0.9 for one in found.values()), found
    return found


def replayed_at_the_edge(lab: Composition, recording: str) -> None:
    """The edge's NFs in containers do as recorded, and base station and device move to them."""
    result = lab.json("replay", recording, "--json")
    differences = [
        (one["name"], one["from_nf"], one["to_nf"], difference)
        for one in result["messages"]
        for difference in one["differences"]
        if difference["risk"] == "high"
    ]
    assert result["verdict"] == "same", differences
    assert (result["reconfigured"], result["unacknowledged"]) == (True, 0), result["recordings"]
    assert result["compared"] > 50
