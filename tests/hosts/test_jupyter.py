"""L16, L19 in a notebook: each cell is a task of its own in the kernel's loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from .conftest import LIMIT, PRELUDE, patient

pytestmark = patient


class Notebook:
    """A kernel in a process of its own, and the cells sent to it."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client

    def begin(self, cell: str) -> None:
        self._client.execute(cell, stop_on_error=False)

    def said(self) -> str:
        """Return what the cell that runs prints next."""
        while True:
            message = self._client.get_iopub_msg(timeout=LIMIT)
            if message["msg_type"] == "stream":
                return message["content"]["text"]

    def ended(self) -> dict[str, Any]:
        """Return what became of the cell that was begun."""
        return self._client.get_shell_msg(timeout=LIMIT)["content"]

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
def manager(environment: dict[str, str], tmp_path: Path) -> Iterator[KernelManager]:
    manager = KernelManager(connection_file=str(tmp_path / "kernel.json"))
    manager.start_kernel(env=environment | {"IPYTHONDIR": str(tmp_path)})
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

    # Not one long sleep: of an interrupt the kernel learns when its loop next turns.
    notebook.begin("print('busy')\nwhile True: await asyncio.sleep(0.01)")
    assert notebook.said() == "busy\n"
    manager.interrupt_kernel()
    assert notebook.ended()["ename"] in ("CancelledError", "KeyboardInterrupt")

    assert notebook.run("print(await user(engine), await user(another))") == "app app\n"
    assert notebook.run("print(len(ours()), refresher.status().endpoints[0].mints)") == "2 1\n"
    notebook.run("await refresher.aclose()")
    notebook.run("await block.__aexit__(None, None, None)")
    notebook.run("await engine.dispose()")
    assert notebook.run("print(ours())") == "[]\n"
