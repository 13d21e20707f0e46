"""The JSON API under /api/v1: its parts, and the OpenAPI document that describes them."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final

from fastapi import APIRouter
from fastapi.openapi.utils import get_openapi

from portal.access import Permission, require
from portal.api.advice import router as advice_router
from portal.api.alert_overrides import router as alert_overrides_router
from portal.api.alerts import router as alerts_router
from portal.api.books import router as books_router
from portal.api.company import router as company_router
from portal.api.enrolment import router as enrolment_router
from portal.api.funds import router as funds_router
from portal.api.halts import router as halts_router
from portal.api.money import router as money_router
from portal.api.offers import router as offers_router
from portal.api.operation import router as operation_router
from portal.api.people import router as people_router
from portal.api.problem import Problem
from portal.api.verification import router as verification_router
from workflow.sign_in import Visitor

router = APIRouter()

_DESCRIPTION: Final = """
Programs show an API key (`Authorization: Bearer gotong_…`), people their session. Lists come page by page:
pass `next` as `cursor`. A change needs an `Idempotency-Key`, and `If-Match` with the `ETag` of what it is
about. Refusals are `application/problem+json`. Amounts are whole rupiah; workers have pseudonymous numbers.
"""
_REFUSALS: Final = {
    "400": "The Idempotency-Key is missing or unusable",
    "401": "Nobody is signed in, or the key is unknown, expired or revoked",
    "403": "The role does not allow this, or a key may not",
    "404": "There is no such thing, or it is none of yours",
    "409": "It cannot be done as things stand",
    "412": "It is not as it was read any more",
    "413": "The file is too large",
    "422": "The request cannot be understood",
    "428": "If-Match is missing",
    "429": "Too many requests; see Retry-After",
    "503": "The database does not answer",
}


@router.get("/api/v1/openapi.json", include_in_schema=False)
def show_document(visitor: Annotated[Visitor, require(Permission.READ_OVERVIEW)]) -> dict[str, Any]:
    """The OpenAPI document."""
    return describe_api()


for _part in (
    books_router,
    advice_router,
    offers_router,
    company_router,
    verification_router,
    alerts_router,
    alert_overrides_router,
    operation_router,
    halts_router,
    money_router,
    funds_router,
    enrolment_router,
    people_router,
):
    router.include_router(_part)


@cache
def describe_api() -> dict[str, Any]:
    """OpenAPI 3.1 of the API, with every refusal a route may answer."""
    document = get_openapi(
        title="Gotong", version="1", openapi_version="3.1.0", description=_DESCRIPTION, routes=router.routes
    )
    schemas = document["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "__Host-gotong"},
    }
    document["security"] = [{"key": []}, {"session": []}]
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in document["paths"].values():
        for operation in path.values():
            for status, description in _REFUSALS.items():
                operation["responses"][status] = {"description": description, "content": content}
    return document
