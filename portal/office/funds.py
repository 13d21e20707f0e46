"""Pledges and budget lines: balances, rules, journal, documents."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
