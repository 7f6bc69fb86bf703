"""A program of the staff office: speaks to a bridge over HTTP, and holds each exchange against the OpenAPI document."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
import requests

from external_accounts import api_keys, audit
from external_accounts.api_keys import SCOPES
from tests.bridge_under_test import BridgeUnderTest

ADA = {
    "external_key": "V1",
    "given_name": "Ada",
    "family_name": "Lovelace",
    "birth_name": "Byron",
    "profile": "vacataire",
    "private_email": "ada@mail.example",
    "rights_end": "2099-06-30",
}


class Program:
    """A key, and calls with it."""

    def __init__(self, bridge: BridgeUnderTest, *scopes: str, name: str = "rh") -> None:
        self.bridge = bridge
        with bridge.runtime.database.begin() as session:
            self.token = api_keys.make(
                session, name, scopes or SCOPES, expires_at=None, now=bridge.clock(), origin=audit.SYSTEM
            )
        self.document: dict[str, Any] = requests.get(f"{bridge.url}/api/v1/openapi.json", timeout=20).json()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        raw: bytes | None = None,
        **headers: str,
    ) -> requests.Response:
        sent = {"Authorization": f"Bearer {token or self.token}", "Accept-Language": "en"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if raw is not None:
            answer = requests.request(method, self.bridge.url + path, data=raw, headers=sent, timeout=20)
        else:
            answer = requests.request(method, self.bridge.url + path, json=body, headers=sent, timeout=20)
        self.check(method, path, body, answer)
        return answer

    def check(self, method: str, path: str, body: Any, answer: requests.Response) -> None:
        """The answer is one that the document names, of the form it gives; so is the body of what was accepted."""
        assert "Set-Cookie" not in answer.headers
        operation = self._operation(method, path)
        if operation is None:
            assert answer.headers["Content-Type"] == "application/problem+json"
            return
        described = operation["responses"][str(answer.status_code)]
        media, content = next(iter(described["content"].items()))
        assert answer.headers["Content-Type"] == media
        self._validate(content["schema"], answer.json())
        for header in described.get("headers", {}):
            assert header in answer.headers
        if answer.ok and "requestBody" in operation:
            self._validate(operation["requestBody"]["content"]["application/json"]["schema"], body)

    def _operation(self, method: str, path: str) -> Any:
        for template, operations in self.document["paths"].items():
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(f"/api/v1{template}"))
            if re.fullmatch(pattern, path):
                return operations.get(method.lower())
        return None

    def _validate(self, schema: dict[str, Any], value: Any) -> None:
        whole = {**schema, "components": self.document["components"]}
        jsonschema_rs.validator_for(whole, validate_formats=True).validate(value)
