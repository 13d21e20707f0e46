"""Problem: why a request of the API was refused, as application/problem+json (RFC 9457)."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict


class Problem(BaseModel):
    """The body of every refusal; ``type`` is stable, ``title`` and ``detail`` are for people."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str | None = None


class ProblemError(Exception):
    """Answer with ``status`` and a problem; ``more`` stands beside the four usual members."""

    def __init__(self, status: int, reason: str, title: str, detail: str = "", **more: Any) -> None:
        super().__init__(reason)
        self.status = status
        self.body = {"type": f"urn:gotong:problem:{reason}", "title": title, "status": status}
        if detail:
            self.body["detail"] = detail
        self.body |= more


def install_problems(app: FastAPI) -> None:
    """Let the application answer problems that routes raise."""

    @app.exception_handler(ProblemError)
    def _problem(request: Request, error: ProblemError) -> JSONResponse:
        return JSONResponse(error.body, error.status, media_type="application/problem+json")
