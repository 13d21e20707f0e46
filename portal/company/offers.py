"""New pledges and top-ups that a company offers; an officer confirms them."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
