"""What a supply of tokens says of itself, for `status()`."""

from __future__ import annotations

from ._schedule import SLICE
from ._status import EndpointStatus
from ._supply import TokenSupply


def status_of(
    supply: TokenSupply, *, refreshed_at: float | None, crash: Exception | None
) -> EndpointStatus:
    """Return the state of *supply* at the moment of the call.

    Args:
        supply: Whose.
        refreshed_at: The time now, in Unix seconds, if a background task looks after it.
        crash: What ended that task's loop, if it has not turned since.
    """
    held = supply.slot.held
    usable_for = supply.slot.usable_for()
    keys = supply.keys.held
    error = supply.keys.last_error or supply.last_error
    last_error = None if error is None else str(error)
    if crash is not None:
        last_error = f"the refresher crashed: {type(crash).__name__}"
    due = supply.next_mint_at if supply.keys.usable() else supply.keys.due_at
    if refreshed_at is not None and usable_for == 0 and supply.keys.usable():
        due = min(due, refreshed_at + SLICE)  # by a clock that was set back it is far away
    return EndpointStatus(
        endpoint=supply.endpoint,
        ready=usable_for > 0,
        usable_for=usable_for,
        minted_at=held.life.minted_at if held else None,
        expires_at=held.life.expires_at if held else None,
        credentials_expire_at=keys.expires_at if keys else None,
        access_key_id=held.life.access_key_id if held else None,
        provider=supply.keys.provider,
        mints=supply.mints,
        cold_mints=supply.cold_mints,
        rejections=supply.rejections,
        consecutive_failures=max(supply.failures, supply.keys.failures, int(crash is not None)),
        last_error=last_error,
        next_mint_at=None if refreshed_at is None else max(due, refreshed_at),
    )
