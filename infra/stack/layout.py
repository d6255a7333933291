"""Where a stack keeps its things: every path below its folder, in one place."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

#: Folder of a stack when neither ``--data`` nor ``TTV_DATA`` names one.
DEFAULT_DATA = Path("var/stack")

# sun_path holds 108 bytes; supervisor binds a name with its pid appended before it links it.
_SOCKET_PATH_LIMIT = 90


@dataclass(frozen=True)
class Layout:
    """Paths of the stack in ``data`` (absolute)."""

    data: Path

    @classmethod
    def of(cls, data: Path | str) -> Layout:
        """The layout of ``data``, made absolute; nothing is created."""
        return cls(Path(data).expanduser().absolute())

    @property
    def info(self) -> Path:
        """``stack.json``: addresses, secrets and processes, for clients."""
        return self.data / "stack.json"

    @property
    def identity(self) -> Path:
        """Ports and secrets that stay the same over restarts."""
        return self.data / "identity.json"

    @property
    def kafka_tls(self) -> Path:
        """Certificates of a secured Kafka."""
        return self.data / "kafka-tls"

    @property
    def lock(self) -> Path:
        """Locked (flock) by the supervisor for as long as it lives."""
        return self.data / "lock"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.data / "logs"

    @property
    def run(self) -> Path:
        """What is written anew at each start."""
        return self.data / "run"

    @property
    def programs(self) -> Path:
        """The programs as ``launch.py`` reads them, with their environments."""
        return self.run / "programs.json"

    @property
    def supervisor_config(self) -> Path:
        """supervisord's configuration."""
        return self.run / "supervisord.conf"

    @property
    def supervisor_pidfile(self) -> Path:
        """supervisord's process id."""
        return self.run / "supervisord.pid"

    @property
    def traces(self) -> Path:
        """Finished spans, one file a process."""
        return self.data / "traces"

    @property
    def work(self) -> Path:
        """Scratch folders of the processes."""
        return self.data / "work"

    @property
    def socket(self) -> Path:
        """supervisord's socket; in a private temporary folder when ``data`` is too long a path.

        The name of that folder is a digest of ``data``, so every command finds the same one.
        """
        near = self.run / "supervisor.sock"
        if len(os.fsencode(near)) <= _SOCKET_PATH_LIMIT:
            return near
        return self._far_folder() / "supervisor.sock"

    def _far_folder(self) -> Path:
        name = hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"ttv-{os.getuid()}-{name}"

    def forget_socket(self) -> None:
        """Remove what a stopped stack left outside its folder."""
        if self.socket.parent != self.run:
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    def create(self) -> None:
        """Make the folders, readable by their owner alone.

        Raises:
            PermissionError: if the folder for the socket exists and belongs to someone else.
        """
        for folder in (self.data, self.logs, self.run, self.traces, self.work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        holder = self.socket.parent
        if holder != self.run:
            holder.mkdir(mode=0o700, exist_ok=True)
            if holder.is_symlink() or holder.stat().st_uid != os.getuid():
                raise PermissionError(f"{holder} belongs to someone else: remove it")
            holder.chmod(0o700)
