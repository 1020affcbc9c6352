"""An SSH server for tests: `python ssh_server.py HOST_KEY AUTHORIZED_KEYS TMPDIR`.

It says its port, then runs the commands it is sent in a shell, until it is ended.
"""

import asyncio
import asyncio.subprocess
import os
import sys

import asyncssh

HOST_KEY, AUTHORIZED_KEYS, TMPDIR = sys.argv[1:]


async def run(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    assert process.command is not None
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_shell(
        process.command,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={**os.environ, "TMPDIR": TMPDIR},
    )
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    process.exit(await child.wait())


async def serve() -> None:
    server = await asyncssh.listen(
        "127.0.0.1",
        0,  # a free port; without it 22, which one server at a time can have
        server_host_keys=[HOST_KEY],
        authorized_client_keys=AUTHORIZED_KEYS,
        process_factory=run,
        encoding=None,
    )
    sys.stdout.write(f"{server.get_port()}\n")
    sys.stdout.flush()
    await server.wait_closed()


asyncio.run(serve())
