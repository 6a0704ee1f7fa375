"""L16, L19 where the program's own main task is the host: `asyncio.run`, `anyio.run`."""

from __future__ import annotations

import signal

from .conftest import Start, patient

pytestmark = patient


def test_ctrl_c_closes_what_the_main_task_opened(start: Start) -> None:
    """L19: `asyncio.run` cancels the main task; its blocks are left in order."""
    host = start("""
    async def main():
        try:
            async with open_engine(URL) as engine:
                print(await user(engine))
                await asyncio.Event().wait()
        finally:
            print("closed", ours())

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted")
    """)
    host.wait_for("^app$")
    assert host.end(signal.SIGINT) == 0
    assert str(host) == "app\nclosed []\ninterrupted\n"


def test_anyio_run_one_after_another_on_both_loops(start: Start) -> None:
    """L16: inside task groups and scopes; a child that fails comes out as anyio says it."""
    host = start("""
    import anyio

    async def fails():
        raise LookupError("mine")

    async def main():
        try:
            with anyio.fail_after(10):
                async with anyio.create_task_group() as group, open_engine(URL) as engine:
                    async with anyio.create_task_group() as inner:
                        inner.start_soon(user, engine)
                        inner.start_soon(user, engine)
                    group.start_soon(fails)
                    await anyio.sleep_forever()
        except* LookupError as group:
            print(type(asyncio.get_running_loop()).__module__, group.exceptions, ours())

    anyio.run(main)
    anyio.run(main, backend_options={"use_uvloop": True})
    """)
    assert host.end() == 0
    assert str(host) == (
        "asyncio.unix_events (LookupError('mine'),) []\nuvloop (LookupError('mine'),) []\n"
    )


def test_two_engines_are_left_in_the_order_of_their_opening_each_in_another_task(
    start: Start,
) -> None:
    """L16: as a container of dependencies does it, which knows nothing of scopes."""
    host = start("""
    async def main():
        blocks = [open_engine(URL) for _ in range(2)]
        engines = [await asyncio.create_task(block.__aenter__()) for block in blocks]
        for block, engine in zip(blocks, engines):
            print(await user(engine), len(ours()))
            await asyncio.create_task(block.__aexit__(None, None, None))
        print("closed", ours())

    asyncio.run(main())
    """)
    assert host.end() == 0
    assert str(host) == "app 2\napp 1\nclosed []\n"
