"""Become one program of the stack: ``launch.py PROGRAMS_FILE NAME``, run by the supervisor.

The program dies with its supervisor: the kernel sends it its death signal when the parent ends,
however that ends. Environment and secrets come from the file (mode 0600), so that neither the
supervisor's configuration nor a process list shows them. Standard library only, and imported by
nothing: it starts with ``python -I -S`` in a few milliseconds and is gone after exec.
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: pass through folders that only root may enter.
_DAC = (1, 2)

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _prctl(option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if _libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def die_with_parent(parent: int, death_signal: int) -> None:
    """Have the kernel send ``death_signal`` to this process when its parent ends.

    ``parent`` is the pid that it should have: if that one ended already, this process ends too.
    """
    _prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        sys.exit("launch: the supervisor is gone")


def drop_root(user: str) -> None:
    """Become ``user``, keeping only the right to pass through folders closed to others.

    PostgreSQL refuses to run as root, and the stack's folder or the environment may lie below a
    folder that only root may enter. Where the kernel grants no such right, the folders decide.
    """
    account = pwd.getpwnam(user)
    try:
        # setuid keeps capabilities, and access(2), with which initdb and postgres look for their
        # own programs, counts them.
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    except OSError:
        _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    header, data = _Header(_CAPABILITY_VERSION_3, 0), (_Data * 2)()
    if _libc.capget(ctypes.byref(header), data) != 0:
        return
    kept = [bit for bit in _DAC if data[0].permitted >> bit & 1]
    mask = sum(1 << bit for bit in kept)
    data[0] = _Data(mask, mask, mask)
    data[1] = _Data(0, 0, 0)
    if _libc.capset(ctypes.byref(header), data) != 0:
        return
    for bit in kept:
        try:
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, bit)
        except OSError:
            return


def main(programs_file: str, name: str) -> None:
    """Exec the program ``name`` of ``programs_file``; does not return."""
    with open(programs_file, encoding="utf-8") as file:
        content: dict[str, Any] = json.load(file)
    with open(content["supervisor_pidfile"], encoding="utf-8") as file:
        parent = int(file.read())
    program = content["programs"][name]
    user = program["user"]
    if user is not None and os.geteuid() == 0:
        drop_root(user)
    os.umask(0o077)
    os.chdir(program["cwd"])
    # After setuid, which clears it; exec keeps it.
    die_with_parent(parent, getattr(signal, program["death_signal"]))
    argv, env = program["argv"], dict(program["env"])
    # An event listener finds its supervisor through these.
    env.update({key: os.environ[key] for key in os.environ if key.startswith("SUPERVISOR_")})
    os.execve(argv[0], argv, env)  # noqa: S606 - becoming the program is the point


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
