"""Paths of a stack: private, and with a socket that fits whatever the folder is called."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from infra.stack.layout import Layout


def test_a_short_folder_holds_its_socket() -> None:
    assert Layout.of("/srv/s").socket == Path("/srv/s/run/supervisor.sock")


def test_a_long_folder_gets_a_socket_that_can_be_bound(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / ("long" * 40))
    layout.create()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(layout.socket))
    assert layout.socket.parent.stat().st_mode & 0o777 == 0o700
    layout.forget_socket()
    assert not layout.socket.parent.exists()


def test_two_long_folders_do_not_share_a_socket(tmp_path: Path) -> None:
    one, two = (Layout.of(tmp_path / ("long" * 40) / name) for name in ("one", "two"))
    assert one.socket != two.socket


def test_a_socket_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / ("long" * 40))
    layout.socket.parent.symlink_to(tmp_path)
    try:
        with pytest.raises(PermissionError):
            layout.create()
    finally:
        layout.socket.parent.unlink()


def test_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "data")
    layout.create()
    assert all(
        folder.stat().st_mode & 0o777 == 0o700
        for folder in (layout.data, layout.logs, layout.run, layout.traces, layout.work)
    )
