"""Budget alerts: what to act on, who owns it, and the rules behind them."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
