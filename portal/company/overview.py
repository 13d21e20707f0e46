"""A company's own pledges: spent and left, timeline, impact."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
