"""The component sheet: every building block of the pages, in every state."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from portal.access import OwnAccount
from portal.listing import read_listing
from portal.page import render_page

router = APIRouter()


@router.get("/components")
def show_components(request: Request, visitor: OwnAccount) -> Response:
    """For whoever builds pages, and for whoever checks how they look and read."""
    listing = read_listing(
        request, sorts=("name", "amount"), default="name", filters={"kind": ("csr", "apbd"), "district": None}
    )
    return render_page(request, "components.html", visitor=visitor, listing=listing)
