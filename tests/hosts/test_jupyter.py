"""L16, L19 in a notebook: each cell is a task of its own in the kernel's loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from .conftest import LIMIT, PRELUDE


class Notebook:
    """A kernel in a process of its own, and the cells sent to it."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client

    def begin(self, cell: str) -> None:
        self._client.execute(cell)

    def message(self, kind: str) -> dict[str, Any]:
        """Return the next message of this kind of the cell that runs."""
        while True:
            message = self._client.get_iopub_msg(timeout=LIMIT)
            if message["msg_type"] == kind:
                return message["content"]

    def run(self, cell: str) -> str:
        """Return what a cell prints; it must not fail."""
        said: list[str] = []

        def note(message: dict[str, Any]) -> None:
            content = message["content"]
            said.append(content.get("text") or "\n".join(content.get("traceback", [])))

        reply = self._client.execute_interactive(cell, timeout=LIMIT, output_hook=note)
        assert reply["content"]["status"] == "ok", "".join(said)
        return "".join(said)


@pytest.fixture
def manager(environment: dict[str, str]) -> Iterator[KernelManager]:
    manager = KernelManager()
    manager.start_kernel(env=environment)
    yield manager
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


@pytest.fixture
def notebook(manager: KernelManager) -> Iterator[Notebook]:
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=LIMIT)
    yield Notebook(client)
    client.stop_channels()


def test_cells_open_use_and_close_it(notebook: Notebook, manager: KernelManager) -> None:
    """L16, L19: no two of them are the same task, and one that is interrupted hurts none."""
    notebook.run(PRELUDE)
    notebook.run("engine = create_async_engine(URL); refresher = TokenRefresher(engine)")
    notebook.run("await refresher.start()")
    notebook.run("block = open_engine(URL); another = await block.__aenter__()")
    assert notebook.run("print(await user(engine), await user(another))") == "app app\n"

    notebook.begin("print('asleep'); await asyncio.Event().wait()")
    assert notebook.message("stream")["text"] == "asleep\n"
    manager.interrupt_kernel()
    assert notebook.message("error")["ename"] in ("CancelledError", "KeyboardInterrupt")

    assert notebook.run("print(await user(engine), await user(another))") == "app app\n"
    assert notebook.run("print(len(ours()), refresher.status().endpoints[0].mints)") == "2 1\n"
    notebook.run("await refresher.aclose()")
    notebook.run("await block.__aexit__(None, None, None)")
    notebook.run("await engine.dispose()")
    assert notebook.run("print(ours())") == "[]\n"
