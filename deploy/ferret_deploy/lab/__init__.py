"""The lab: places on one machine, the WAN between them, and the voice that crosses it."""
