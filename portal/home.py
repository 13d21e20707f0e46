"""Where somebody begins who has just signed in."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import RedirectResponse

from portal.access import OwnAccount
from portal.navigation import HOME

router = APIRouter()


@router.get("/home")
def go_home(visitor: OwnAccount) -> RedirectResponse:
    """To the first page of the visitor's role."""
    return RedirectResponse(HOME[visitor.role], 303)
