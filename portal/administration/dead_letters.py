"""Dead letters with their reasons, and their replay."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
