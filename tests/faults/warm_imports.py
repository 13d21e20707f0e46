"""Imported by the fork server alone: all that a worker would import or look up first, done once for all."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module

_MODULES = (
    "streams.worker",
    "optimizer.solve",
    "tests.faults.warm_worker",
    "faust.app.base",
    "faust.agents.manager",
    "faust.assignor.leader_assignor",
    "faust.sensors.monitor",
    "faust.serializers.schemas",
    "faust.tables.manager",
    "faust.tables.recovery",
    "faust.transport.drivers.aiokafka",
    "faust.web.cache.backends",
    "faust.web.drivers",
    "faust.worker",
    "encodings.idna",
)

for _name in _MODULES:
    import_module(_name)
inspect.getmodule(sys._getframe())  # fills a cache of every module's file, which each agent's decorator reads
