"""Ports: the portal gets the one asked for, or the next free one; what cannot be is a named setting."""

from __future__ import annotations

import socket

import pytest

from gotong.settings import SettingError
from gotong.up import adopt_socket, listen


@pytest.fixture
def taken() -> socket.socket:
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    return taken


def test_a_taken_port_gives_the_next_free_one(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    with taken, listen("127.0.0.1", port, search=True) as listener:
        assert port < listener.getsockname()[1] < port + 50


def test_a_taken_port_is_an_error_where_no_other_will_do(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    with taken, pytest.raises(SettingError, match=f"GOTONG_PORT: {port} is taken"):
        with listen("127.0.0.1", port, search=False):
            pass


def test_an_address_of_another_machine_is_a_wrong_setting() -> None:
    with pytest.raises(SettingError, match="GOTONG_HOST"):
        with listen("192.0.2.1", 6402, search=True):
            pass


def test_a_child_serves_the_very_socket_it_inherits() -> None:
    with listen("127.0.0.1", 20_000, search=True) as listener:
        adopted = adopt_socket(listener.dup().detach())
        with adopted:
            assert adopted.getsockname() == listener.getsockname()
