"""What came out of a replay: per message, per recording and altogether; its JSON and JUnit forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from xml.etree import ElementTree

from ferret.replay.plan import Part, Plan, PlannedMessage


class Verdict(StrEnum):
    """`failed` before `different` before `same`."""

    SAME = "same"  # nothing of high risk differs
    DIFFERENT = "different"  # a difference of high risk
    FAILED = "failed"  # a message was not acknowledged, or the replay was abandoned


EXIT_STATUS: Mapping[Verdict, int] = {Verdict.SAME: 0, Verdict.DIFFERENT: 1, Verdict.FAILED: 1}

JsonDifference = Mapping[str, object]
"""{"parameter", "class", "risk", "recorded", "edge"}"""


@dataclass(slots=True)
class MessageResult:
    """One message's fate. Filled in while the replay runs."""

    step: PlannedMessage
    acknowledged: bool = False
    attempts: int = 0
    made: bool = False  # an expected message: the edge has made it
    octets: bytes = b""  # and this is what it made
    differences: tuple[JsonDifference, ...] = ()

    @property
    def high_risk(self) -> int:
        """How many differences of high risk it has."""
        return sum(1 for d in self.differences if d["risk"] == "high")

    def as_json(self, subscriber: str) -> dict[str, object]:
        """The message's object in `ferret replay --json`."""
        message = self.step.message
        return {
            "index": message.index,
            "interface": str(message.interface),
            "name": message.name,
            "from_nf": str(message.from_nf.role),
            "to_nf": str(message.to_nf.role),
            "role": str(self.step.part),
            "reason": self.step.reason,
            "subscriber": subscriber,
            "acknowledged": self.acknowledged,
            "attempts": self.attempts,
            "differences": [dict(d) for d in self.differences],
        }


@dataclass(slots=True)
class Made:
    """Something that the edge made although the recording has nothing like it: a difference of low risk ("added")."""

    protocol: str
    interface: str
    name: str

    def as_json(self) -> dict[str, str]:
        """The object in `ferret replay --json`."""
        return {"protocol": self.protocol, "interface": self.interface, "name": self.name}


@dataclass(slots=True)
class RecordingResult:
    """One recording's replay."""

    plan: Plan
    messages: list[MessageResult]
    added: list[Made] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    reconfigured: bool = False
    nas_protected: bool | None = None  # None: no reconfiguration
    not_reconfigured: str = ""
    user_plane: Mapping[str, object] = field(default_factory=dict)  # the probe's figures
    abandoned: str = ""  # why the replay was given up; "" if it was not
    duration_ms: float = 0.0
    fallback_ms: float = 0.0  # of duration_ms: until base station and device had moved

    @property
    def replayed(self) -> int:
        """Stimuli and imports delivered."""
        return sum(1 for m in self.messages if m.step.part.delivered and m.attempts)

    @property
    def compared(self) -> int:
        """Messages that the edge made and that were compared with the recorded ones."""
        return sum(1 for m in self.messages if m.made)

    @property
    def acknowledged(self) -> int:
        """Messages that an edge NF acknowledged."""
        return sum(1 for m in self.messages if m.acknowledged)

    @property
    def unacknowledged(self) -> int:
        """Messages that were to be acknowledged and were not."""
        return sum(1 for m in self.messages if m.step.part is not Part.SKIPPED and not m.acknowledged)

    @property
    def high_risk(self) -> int:
        """Differences of high risk."""
        return sum(m.high_risk for m in self.messages)

    @property
    def verdict(self) -> Verdict:
        """Failed, different or same."""
        moved = self.reconfigured or self.plan.reconfigure_after is None
        if self.abandoned or self.unacknowledged or not moved:
            return Verdict.FAILED
        return Verdict.DIFFERENT if self.high_risk else Verdict.SAME


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """All recordings of one `ferret replay`."""

    recordings: Sequence[RecordingResult]
    duration_ms: float

    @property
    def verdict(self) -> Verdict:
        """The worst of the recordings'."""
        verdicts = {r.verdict for r in self.recordings}
        return next((v for v in (Verdict.FAILED, Verdict.DIFFERENT) if v in verdicts), Verdict.SAME)

    @property
    def reconfigured(self) -> bool:
        """Whether every recording that has a bearer to move was moved, and there was at least one."""
        due = [r for r in self.recordings if r.plan.reconfigure_after is not None]
        return bool(due) and all(r.reconfigured for r in due)

    def as_json(self) -> dict[str, object]:
        """The one object that `ferret replay --json` prints."""
        recordings = self.recordings
        assumed: dict[str, None] = {}
        for recording in recordings:
            assumed.update(dict.fromkeys(recording.assumed))
        return {
            "verdict": str(self.verdict),
            "subscribers": [r.plan.subscriber for r in recordings],
            "replayed": sum(r.replayed for r in recordings),
            "compared": sum(r.compared for r in recordings),
            "acknowledged": sum(r.acknowledged for r in recordings),
            "unacknowledged": sum(r.unacknowledged for r in recordings),
            "high_risk": sum(r.high_risk for r in recordings),
            "reconfigured": self.reconfigured,
            "assumed": list(assumed),
            "duration_ms": round(self.duration_ms, 1),
            "recordings": [_recording_json(r) for r in recordings],
            "messages": [m.as_json(r.plan.subscriber) for r in recordings for m in r.messages],
        }


def _recording_json(recording: RecordingResult) -> dict[str, object]:
    return {
        "subscriber": recording.plan.subscriber,
        "service": recording.plan.service,
        "verdict": str(recording.verdict),
        "reconfigured": recording.reconfigured,
        "not_reconfigured": recording.not_reconfigured,
        "nas_protected": recording.nas_protected,
        "user_plane": dict(recording.user_plane),
        "abandoned": recording.abandoned,
        "duration_ms": round(recording.duration_ms, 1),
        "fallback_ms": round(recording.fallback_ms, 1),
        "added": [made.as_json() for made in recording.added],
    }


def as_junit(result: ReplayResult, name: str) -> bytes:
    """The result as a JUnit file: a suite per recording, a case per message that took part."""
    suites = ElementTree.Element("testsuites", name=name)
    for recording in result.recordings:
        taking_part = [m for m in recording.messages if m.step.part is not Part.SKIPPED]
        failures = sum(1 for m in taking_part if m.high_risk or not m.acknowledged)
        suite = ElementTree.SubElement(
            suites,
            "testsuite",
            name=f"{recording.plan.service} of {recording.plan.subscriber}",
            tests=str(len(taking_part)),
            failures=str(failures),
            time=f"{recording.duration_ms / 1000:.3f}",
        )
        for message in taking_part:
            _junit_case(suite, message)
    ElementTree.indent(suites)
    octets: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return octets


def _junit_case(suite: ElementTree.Element, result: MessageResult) -> None:
    message = result.step.message
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=f"{message.interface}.{result.step.part}",
        name=f"{message.index} {message.name} ({message.from_nf.role} → {message.to_nf.role})",
    )
    if not result.acknowledged:
        ElementTree.SubElement(case, "failure", message=f"not acknowledged after {result.attempts} attempts")
    elif result.high_risk:
        text = "\n".join(
            f"{d['parameter']}: recorded {d['recorded']!r}, edge {d['edge']!r} ({d['class']}, {d['risk']} risk)"
            for d in result.differences
        )
        ElementTree.SubElement(case, "failure", message="differs from the recording").text = text
