"""
A Python that has imported Django already, and forks for each script it is to run.

Most of what a command of a test takes is the import of Django. Nothing of safefield and
no settings are imported here: a fork does that anew, as any process. safefield is only
compiled here.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).parents[2]
MODULES = [
    "django.contrib.postgres.fields",
    "django.core.checks.urls",
    "django.core.cache.backends.locmem",
    "django.core.management.commands.check",
    "django.core.management.commands.makemigrations",
    "django.core.management.commands.migrate",
    "django.core.management.commands.shell",
    "django.core.management.commands.sqlmigrate",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.template.backends.django",
    "django.views.debug",
    "pymysql",
]


class Result(NamedTuple):
    """What a command wrote, and its exit code."""

    out: str
    err: str
    code: int


def run(
    path: Path, arguments: Sequence[str], environment: Mapping[str, str], stdin: str
) -> Result:
    """
    Run the manage.py in `path` and wait for it.

    Args:
        path (Path): Directory of the project, which becomes the current one.
        arguments (Sequence[str]): Command and options.
        environment (Mapping[str, str]): All environment variables.
        stdin (str): What is typed.
    """
    with ExitStack() as stack:
        typed, out, err = (
            stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)
        )
        typed.write(stdin)
        typed.seek(0)
        answer = launch(path, "manage.py", arguments, environment, [typed, out, err])
        code = int(stack.enter_context(answer).read())
        for file in (out, err):
            file.seek(0)
        return Result(out.read(), err.read(), code)


def launch(
    path: Path,
    script: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    streams: Sequence[Any],
) -> IO[str]:
    """
    Run a script in `path` and do not wait for it.

    Args:
        path (Path): Its directory, which becomes the current one.
        script (str): Its name.
        arguments (Sequence[str]): Command and options.
        environment (Mapping[str, str]): All environment variables.
        streams (Sequence): Files or sockets for its standard input, output and error.

    Returns:
        A file with its exit code, which is there when it has ended.
    """
    reader, writer = os.pipe()
    with tempfile.TemporaryFile("w+") as request:
        json.dump([str(path), script, [*arguments], {**environment}], request)
        request.seek(0)
        fds = [file.fileno() for file in (request, *streams)]
        try:
            socket.send_fds(start(), [b"+"], [*fds, writer])
        finally:
            os.close(writer)
    return open(reader)


@functools.cache
def start() -> socket.socket:
    """Start the server of this process; return the socket that it listens to."""
    ours, theirs = socket.socketpair()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    module = "tests.support.interpreter"
    process = subprocess.Popen(
        [sys.executable, "-Werror", "-m", module, str(theirs.fileno())],
        cwd=ROOT,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()

    def stop() -> None:
        ours.close()
        process.wait()

    atexit.register(stop)
    return ours


def serve(server: socket.socket) -> None:
    """Fork for each request until the other end is closed."""
    for name in MODULES:
        if find_spec(name.partition(".")[0]):
            import_module(name)
    compile_once()
    # What is here already, a fork need not look through, which would copy it.
    gc.freeze()
    # Nobody waits for those that wait for the commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, fds, _, _ = socket.recv_fds(server, 1, 5)
        if not message:
            return
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            *streams, answer = fds
            os.set_inheritable(answer, False)
            process = os.fork()
            if process == 0:
                os.close(answer)
                execute(*streams)
            _, status = os.waitpid(process, 0)
            os.write(answer, str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)
        for fd in fds:
            os.close(fd)


def compile_once() -> None:
    """Compile the package here and not in each fork: nothing writes its bytecode."""
    compile_source: Any = SourceFileLoader.source_to_code
    compiled: dict[Any, Any] = {}

    def source_to_code(loader: Any, data: Any, path: str, **options: Any) -> Any:
        key = path, data
        if key not in compiled:
            compiled[key] = compile_source(loader, data, path, **options)
        return compiled[key]

    SourceFileLoader.source_to_code = source_to_code  # type: ignore[method-assign]
    for path in (ROOT / "safefield").rglob("*.py"):
        source_to_code(SourceFileLoader("", str(path)), path.read_bytes(), str(path))


def execute(request: int, *streams: int) -> None:
    """Become the process that was asked for, and end it."""
    with open(request) as file:
        path, script, arguments, environment = json.load(file)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(path)
    sys.argv = [script, *arguments]
    sys.path[0] = path
    name = os.path.join(path, script)
    module: Any = types.ModuleType("__main__")
    module.__file__ = name
    sys.modules["__main__"] = module
    code: Any = None
    try:
        exec(
            compile(Path(name).read_text(encoding="utf-8"), name, "exec"), vars(module)
        )
    except SystemExit as exc:
        code = exc.code
    except Exception as exc:
        # Without the frame above.
        traceback = exc.__traceback__
        sys.excepthook(type(exc), exc, traceback and traceback.tb_next)
        code = 1
    end(code)


def end(code: object) -> None:
    """
    End this process as sys.exit() does, but for one thing: the modules stay.

    To free them, Python would copy the memory that it shares with the other forks,
    which takes longer than most commands.
    """
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    # What is open and forgotten says so.
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as server:
        serve(server)
