"""Who did what when, the state of the hash chains, and their export."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
