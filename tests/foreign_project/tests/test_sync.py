"""What needs no async plugin."""

import asyncio

import pytest
from parcels.app import receive
from parcels.shelf import Shelf


def test_a_loop_of_the_test_own(rds_iam_engine):
    async def put_and_count():
        await Shelf(rds_iam_engine).put("Ada")
        return await Shelf(rds_iam_engine).count()

    assert asyncio.run(put_and_count()) == 1
    assert asyncio.run(put_and_count()) == 2


@pytest.mark.parametrize("repetition", range(2))
def test_the_app_as_it_is(rds_iam_environment, repetition):
    assert asyncio.run(receive(["Ada", "Grace"])) == 2
