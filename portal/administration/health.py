"""Whether the house is well: workers, broker, database, lag, last runs."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
