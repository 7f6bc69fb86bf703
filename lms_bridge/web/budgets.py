"""The budget of the network that a request comes from."""

from __future__ import annotations

from external_accounts import throttle
from external_accounts.throttle import Limit, Use
from lms_bridge.web.request import origin, runtime


def of_network(ordinary: Limit, *, campus: Limit) -> Use:
    """One use of it. `campus` is the limit for the university's own networks, where a lecture hall is one caller."""
    prefixes = runtime().settings.throttle.campus_prefixes
    return throttle.network_use(origin().network, prefixes, ordinary=ordinary, campus_limit=campus)
