"""Starts PgBouncer in front of the PostgreSQL server of the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.sessions import wait_until

PROGRAM = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")

CONFIGURATION = """\
[databases]
* = host={host} port={port} user={user}{password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 8
server_round_robin = {round_robin}
ignore_startup_parameters = extra_float_digits
"""


@contextmanager
def run_pgbouncer(
    settings: Mapping[str, Any], mode: str, path: Path, *, round_robin: int = 0
) -> Iterator[int]:
    """
    Yield the port of a PgBouncer that runs until the end of the block.

    Args:
        settings (Mapping): Entry in DATABASES of the server.
        mode (str): "session", "transaction" or "statement".
        path (Path): An empty folder.
        round_robin (int): 1 hands out connections in turn, 0 the last one again.
    """
    assert PROGRAM is not None
    own_port, secret = find_port(), settings["PASSWORD"]
    configuration = path / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            host=settings["HOST"],
            port=settings["PORT"],
            user=settings["USER"],
            password=f" password={secret}" if secret else "",
            own_port=own_port,
            mode=mode,
            round_robin=round_robin,
        )
    )
    # It does not run as root; the folder of a socket may be its owner's alone.
    socket_folder = Path(settings["HOST"])
    user = socket_folder.owner() if socket_folder.is_dir() else "nobody"
    options = ["-u", user] if os.geteuid() == 0 else []
    with (path / "log").open("w") as log:
        process = subprocess.Popen(
            [PROGRAM, "-q", *options, str(configuration)], stdout=log, stderr=log
        )
        try:
            wait_until(lambda: process.poll() is not None or is_listening(own_port))
            assert process.poll() is None, (path / "log").read_text()
            yield own_port
        finally:
            process.kill()
            process.wait()


def find_port() -> int:
    """Return a port that nobody listens on."""
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def is_listening(port: int) -> bool:
    """Return whether somebody listens on a port."""
    with closing(socket.socket()) as found:
        return found.connect_ex(("127.0.0.1", port)) == 0
