"""Named crash points: ``TTV_CRASH_AT=after_upload`` kills the process there.

Fault tests name the commit edge they hit. With ``TTV_CRASH_AT=name:PATH`` the process dies only
while PATH exists, and removes it first: one crash, however often the process is restarted.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from infra.settings import settings


def crash_point(name: str) -> None:
    """Die by SIGKILL if the settings name this point."""
    wanted, _, marker = (settings().crash_at or "").partition(":")
    if wanted != name:
        return
    if marker:
        try:
            Path(marker).unlink()
        except FileNotFoundError:
            return
    os.kill(os.getpid(), signal.SIGKILL)
