"""Replay at foreign NFs: the stand-ins' sockets, one line to a target for each protocol, and the run (the rim)."""
