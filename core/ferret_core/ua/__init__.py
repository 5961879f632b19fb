"""A SIP user agent of the lab: a device's for voice (GSMA IR.92), and the remote party's that it talks to."""

from ferret_core.ua.agent import UserAgent
from ferret_core.ua.configuration import UaConfiguration
from ferret_core.ua.events import (
    Ended,
    EndReason,
    Established,
    Held,
    MediaMoved,
    MediaSession,
    MessageAnswered,
    MessageReceived,
    ModificationRefused,
    NotRegistered,
    Registered,
    ResourcesWanted,
    Resumed,
    Ringing,
    UaEvent,
)
from ferret_core.ua.session_description import Place

__all__ = [
    "EndReason",
    "Ended",
    "Established",
    "Held",
    "MediaMoved",
    "MediaSession",
    "MessageAnswered",
    "MessageReceived",
    "ModificationRefused",
    "NotRegistered",
    "Place",
    "Registered",
    "ResourcesWanted",
    "Resumed",
    "Ringing",
    "UaConfiguration",
    "UaEvent",
    "UserAgent",
]
