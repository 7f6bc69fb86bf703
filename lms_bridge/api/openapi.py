"""The OpenAPI 3.1 document, made from the models that requests are read with and answers are written with."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from external_accounts.api_keys import SCOPES
from external_accounts.import_rows import KEY
from lms_bridge.api.models import Account, AlikeAccount, End, FieldProblem, Fields, HeldAddress, NewAccount, Problem
from lms_bridge.api.problems import TITLES

READ: tuple[type[BaseModel], ...] = (Fields, NewAccount, End)
WRITTEN: tuple[type[BaseModel], ...] = (Account, HeldAddress, Problem, FieldProblem, AlikeAccount)
EVERYWHERE = ("unauthorised", "forbidden", "too_many_requests", "broken", "unavailable")
CHANGES = ("malformed", "too_large", "idempotency", "invalid", "too_many_ends", "changed_meanwhile")


def document(public_url: str) -> dict[str, Any]:
    """The whole document."""
    _, schemas = models_json_schema(
        [*((model, "validation") for model in READ), *((model, "serialization") for model in WRITTEN)],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "LMS Bridge: accounts",
            "version": version("lms-bridge"),
            "description": "For the university's own programs: create, update, end and look up accounts by the key "
            "that the staff office knows a person by. The same rules hold as for files (`lms-bridge import`).",
        },
        "servers": [{"url": f"{public_url}/api/v1"}],
        "security": [{"key": []}],
        "paths": {
            "/accounts": {
                "post": _operation("createAccount", "accounts:create", NewAccount, 201, *CHANGES, "exists", "homonym")
            },
            "/accounts/{external_key}": {
                "parameters": [_KEY],
                "get": _operation("lookUpAccount", "accounts:read", None, 200, "not_found"),
                "patch": _operation("updateAccount", "accounts:update", Fields, 200, *CHANGES, "not_found"),
            },
            "/accounts/{external_key}/end": {
                "parameters": [_KEY],
                "post": _operation("endAccount", "accounts:end", End, 200, *CHANGES, "not_found"),
            },
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key made by `lms-bridge api-keys create`. Scopes: "
                    + "; ".join(f"`{name}`: {words}" for name, words in SCOPES.items()),
                }
            },
        },
    }


_KEY = {
    "name": "external_key",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": f"^{KEY.pattern}$"},
    "example": "V2026-001",
}
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[!-~]+$"},
    "description": "A request that was done, come again within 24 hours, is answered the same and does nothing.",
}


def _operation(name: str, scope: str, body: type[BaseModel] | None, done: int, *refusals: str) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for refusal in (*EVERYWHERE, *refusals):
        status, title = TITLES[refusal]
        by_status.setdefault(status, []).append(f"`{refusal}`: {title}")
    answers: dict[str, Any] = {str(done): _answer("The account as it is now", Account, "application/json")}
    if done == 201:
        answers["201"]["headers"] = {"Location": {"schema": {"type": "string"}, "required": True}}
    for status, words in sorted(by_status.items()):
        answers[str(status)] = _answer("; ".join(words), Problem, "application/problem+json")
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": SCOPES[scope].capitalize(),
        "description": f"Needs the scope `{scope}`.",
        "responses": answers,
    }
    if body is not None:
        operation["parameters"] = [_IDEMPOTENCY]
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _answer(words: str, model: type[BaseModel], media: str) -> dict[str, Any]:
    return {"description": words, "content": {media: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}}
