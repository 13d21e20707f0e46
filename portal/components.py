"""The component sheet: every building block of the pages, in every state."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
