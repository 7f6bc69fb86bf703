"""The Moodle sites of the settings, each with its client and its circuit breaker."""

from __future__ import annotations

from collections.abc import Sequence

from lms_bridge.settings.sections import Site
from moodle_ws.breaker import Breaker
from moodle_ws.client import MoodleClient


class MoodleSites:
    """One client a site, shared by all threads of the process."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = {site.name: site for site in sites}
        self._clients = {
            site.name: MoodleClient(
                site.url,
                site.token.get_secret_value(),
                connect_timeout=site.connect_timeout,
                read_timeout=site.read_timeout,
                answer_timeout=site.read_timeout,
                breaker=Breaker(),
            )
            for site in sites
        }

    def site(self, name: str) -> Site:
        return self._sites[name]

    def client(self, name: str) -> MoodleClient:
        return self._clients[name]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
