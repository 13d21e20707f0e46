"""Health: whether this portal can do its work, for load balancers and containers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from models.migrate import pending_revision

router = APIRouter()


@router.get("/healthz")
def read_health(request: Request) -> JSONResponse:
    """200 when the database answers and its schema is current, else 503 with the reason."""
    try:
        pending = pending_revision(request.app.state.portal.settings.database_url)
    except SQLAlchemyError:
        return JSONResponse({"status": "unavailable", "reason": "database_unreachable"}, status_code=503)
    if pending is not None:
        return JSONResponse(
            {"status": "unavailable", "reason": "migration_pending", "revision": pending}, status_code=503
        )
    return JSONResponse({"status": "ok"})
