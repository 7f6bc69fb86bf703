"""What was added to an account before its owner showed who they are (LNK-03).

Whoever has an account in hand before its owner could leave an address of their own in it. Such addresses go, unless
somebody confirmed them, at the first proof that the account ever sees and when its password is set anew by a mailed
link. What an operator, an import or a CAS named stays (`Address.self_added`), and so does the main address.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session

from external_accounts import audit
from external_accounts.accounts import lock_account
from external_accounts.address_changes import drop_address
from external_accounts.addresses import mask_address
from external_accounts.schema import Account, Address, Proof


def confirm(
    session: Session,
    looked_at: Proof,
    use: Callable[[Session, Proof], Proof],
    *,
    now: datetime,
    origin: audit.Origin,
) -> tuple[Proof, list[str]]:
    """Use a proof that confirms an address up, by `use`. Returns it and the addresses that went because of it.

    Raises:
        Whatever `use` raises; nothing has gone then.
    """
    account = lock_account(session, looked_at.account_id or 0)
    first = not any(_was_ever_confirmed(address) for address in account.addresses)
    proof = use(session, looked_at)
    return proof, drop_unproved(session, account, now=now, origin=origin) if first else []


def drop_unproved(session: Session, account: Account, *, now: datetime, origin: audit.Origin) -> list[str]:
    """Take away the further addresses that were added in sessions of the account and that nobody ever confirmed.

    The account is held. Returns what went.
    """
    went = [
        address
        for address in account.addresses
        if address.self_added and not address.is_primary and not _was_ever_confirmed(address)
    ]
    for address in went:
        drop_address(session, account, address, now)
        audit.record(
            session,
            "address.dropped",
            outcome="never confirmed",
            now=now,
            origin=origin,
            account_id=account.id,
            address=mask_address(address.email),
        )
    if went:
        account.note_change()
    return [address.email for address in went]


def _was_ever_confirmed(address: Address) -> bool:
    return address.confirmed_at is not None or address.lost_at is not None
