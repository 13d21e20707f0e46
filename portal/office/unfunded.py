"""Who is waiting and why, with the cheapest change that would fund them."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
