"""Giving up root once the sockets are open."""

from __future__ import annotations

import ctypes
import os
import pwd
from typing import Final

from ferret.errors import ConfigError

_PR_SET_NO_NEW_PRIVS: Final = 38


def drop_privileges(user: str) -> None:
    """Become `user`, for good, with his groups and without any capability. Raises ConfigError where that fails."""
    if os.geteuid() != 0:
        raise ConfigError(f"only root can become the user {user!r}: leave --user out, or start it as root")
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"there is no user {user!r}") from None
    try:
        os.initgroups(user, entry.pw_gid)
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    except OSError as error:
        raise ConfigError(
            f"cannot become the user {user!r}: {error.strerror} (a user namespace knows only those who are mapped)"
        ) from None
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
