"""What belongs to a population, as the settings say it: where its passwords live, its deadlines, how its accounts end.

Values only. Who computes with them is told the time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProfilePolicy:
    """The rules for accounts of one profile."""

    name: str
    directory: str = ""
    """The directory that holds the password; empty: none of ours."""
    issuer: str = ""
    """The CAS its people sign in through; empty: the Extérieurs door."""
    first_link: str = "next_day_2359"
    """How long the first activation link can be used: `next_day_2359`, `same_day_2359` or `hours:N`."""
    link_again: str = "same_day_2359"
    """The same, for a link that the person asked for."""
    retention_months: int | None = None
    """From the end of rights to the erasure. None: never erased by itself."""
    extension_months: int = 0
    """Longest extension that can be asked for at once; 0: none."""
    mailbox: str = "none"
    """`box`: a university mailbox, which may be forwarded. `forward`: an address that is only forwarded. `none`."""
    listing: bool = False
    """Whether its people are asked if they want to stand in the public directory."""
    antispam: bool = False
    """Whether its people choose the level of their spam filter."""
