"""The review queue: batches of proposals, their lines, and what officers decide."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
