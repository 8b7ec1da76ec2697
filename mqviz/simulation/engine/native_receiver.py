"""Workers and consumers of the native engine: Python connects and draws, compiled code receives and serves."""

from __future__ import annotations

import time

import numpy as np
import zmq

from mqviz.simulation.engine import native_cache
from mqviz.simulation.engine.ends import HistogramPlaces, Member
from mqviz.simulation.engine.receiver import DRAWS, Receivers
from mqviz.simulation.plan import Command, LoopPlan
from mqviz.telemetry.histogram import U64

native_cache.ready()  # before numba is imported: it reads then where its cache is

from mqviz.simulation.engine import native_drain_loop as drain_loop  # noqa: E402
from mqviz.simulation.engine import native_receive as end  # noqa: E402
from mqviz.simulation.engine import native_service_loop as loop  # noqa: E402
from mqviz.simulation.engine.native_ends import check, grown, link_members, open_sending  # noqa: E402
from mqviz.simulation.engine.native_libzmq import EVENT_STRIDE, MAX_EVENTS, new_scratch  # noqa: E402
from mqviz.simulation.engine.native_message import BUSY  # noqa: E402

AHEAD = 8
"""Draws of one instance alone are made for this many times DRAWS messages."""
