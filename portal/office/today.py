"""Today: what needs a decision, where the money stands, how coverage moves."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
