"""Arrivals: when an open-loop producer intends to send; made ahead from a seed, without looking at a clock.

    constant                         evenly spaced; the instances of a node take turns
    poisson                          independent: exponential gaps
    bursts(period, share)            Poisson in the first `share` of each period, then silence
    ramp(low, high, time)            Poisson, from low·rate to high·rate in `time`, then stays
    steps(every, level, level, …)    Poisson at level·rate, each for `every`, the last stays
    sine(amplitude, period)          Poisson at rate·(1 + amplitude·sin(2πt/period))
    replay(FILE)                     offsets in seconds, one a line, relative to the scenario's file

The bare words stand for bursts(1s, 0.2), ramp(0, 1, 30s), steps(10s, 0.25, 0.5, 0.75, 1), sine(0.5, 20s).

`rate` is the mean rate of constant, poisson, bursts and sine; of ramp and steps what a level of 1 stands for.
A replay is stretched in time to the rate; without one it runs as recorded.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mqviz.errors import ScenarioError
from mqviz.simulation import replay, shape
from mqviz.simulation.call import Call, parse_call, read
from mqviz.simulation.units import DURATION, PLAIN, Unit

NS = 1_000_000_000
LATEST_NS = 1 << 61
"""Later times (36 years) are held here: they never come, and int64 stays safe."""

MAX_LEVELS = 100
MAX_LEVEL = 1_000.0
_MIN_PERIOD_NS = 1_000_000

_PARAMETERS: dict[str, tuple[tuple[str, Unit, float], ...]] = {
    "constant": (),
    "poisson": (),
    "bursts": (("period", DURATION, NS), ("share", PLAIN, 0.2)),
    "ramp": (("low", PLAIN, 0), ("high", PLAIN, 1), ("time", DURATION, 30 * NS)),
    "steps": (("every", DURATION, 10 * NS),),
    "sine": (("amplitude", PLAIN, 0.5), ("period", DURATION, 20 * NS)),
    "replay": (),
}
_LEVELS = (0.25, 0.5, 0.75, 1.0)


class Arrivals(msgspec.Struct, frozen=True):
    """A kind of arrivals and its parameters (durations in ns); `path` of a replay."""

    kind: str = "poisson"
    parameters: tuple[float, ...] = ()
    path: str = ""

    @property
    def text(self) -> str:
        """As a user writes it; parsing it gives equal arrivals."""
        if self.kind == "replay":
            return f"replay({self.path})"
        if not self.parameters:
            return self.kind
        units = [unit for _, unit, _ in _PARAMETERS[self.kind]]
        units += [PLAIN] * (len(self.parameters) - len(units))
        written = [unit.format(value) for unit, value in zip(units, self.parameters, strict=True)]
        return f"{self.kind}({', '.join(written)})"


def parse_arrivals(value: object) -> Arrivals:
    """From a text; the file of a replay is not looked at yet."""
    if not isinstance(value, str):
        raise ScenarioError("", 'arrivals are a word such as "poisson" or "bursts(1s, 0.2)"')
    call = parse_call(value, tuple(_PARAMETERS), "a kind of arrivals")
    if call.name == "replay":
        path = (call.inside or "").strip().strip("\"'")
        if not path:
            raise ScenarioError("", "replay is written replay(FILE)")
        return Arrivals("replay", (), path)
    arrivals = Arrivals(call.name, _parameters(call))
    problem = _problem(arrivals)
    if problem:
        raise ScenarioError("", problem)
    return arrivals


def _parameters(call: Call) -> tuple[float, ...]:
    """What is given, then the defaults."""
    known = _PARAMETERS[call.name]
    given = [
        read(unit, argument, f"{call.name}, {name}")
        for (name, unit, _), argument in zip(known, call.arguments, strict=False)
    ]
    values = given + [default for _, _, default in known[len(given) :]]
    rest = call.arguments[len(known) :]
    if call.name == "steps":
        if len(rest) > MAX_LEVELS:
            raise ScenarioError("", f"steps takes at most {MAX_LEVELS} levels")
        values += [read(PLAIN, level, "steps, level") for level in rest] or list(_LEVELS)
    elif rest:
        names = ", ".join(name for name, _, _ in known)
        raise ScenarioError(
            "", f"{call.name} is written {call.name}({names})" if names else f"just {call.name}"
        )
    return tuple(values)


def _problem(arrivals: Arrivals) -> str:
    """Why the parameters cannot be used, or nothing."""
    values = arrivals.parameters
    units = [
        unit for _, unit, _ in _PARAMETERS[arrivals.kind]
    ]  # fewer than values: steps has any number of levels
    if any(v < _MIN_PERIOD_NS for unit, v in zip(units, values, strict=False) if unit is DURATION):
        return f"a time of {arrivals.kind} is at least 1ms"
    if arrivals.kind == "bursts" and not 0.001 <= values[1] <= 1:
        return "share of bursts is 0.001 to 1"
    if arrivals.kind == "sine" and values[0] > 0.99:
        return "amplitude of sine is 0 to 0.99"
    levels = {"ramp": values[:2], "steps": values[1:]}.get(arrivals.kind, (1.0,))
    if any(level > MAX_LEVEL or 0 < level < 0.001 for level in levels):
        return f"a level of {arrivals.kind} is 0, or 0.001 to {MAX_LEVEL:g} times the rate"
    if levels[-1] == 0:
        return f"the last level of {arrivals.kind} stays for ever and must be above 0"
    return ""


def resolved(arrivals: Arrivals, folder: Path | None) -> Arrivals:
    """The same, a replay's path made absolute from the scenario's folder."""
    if arrivals.kind != "replay":
        return arrivals
    try:
        return Arrivals("replay", (), str(((folder or Path.cwd()) / arrivals.path).resolve()))
    except (OSError, ValueError, RuntimeError) as error:
        raise ScenarioError("", "the path of the replay file is not usable") from error


class ArrivalStream:
    """The intended times of one instance, ascending; the same values however they are asked for.

    A deepcopy looks ahead without disturbing the original.
    """

    def next(self, n: int) -> NDArray[np.int64]:
        """The next n times in ns; fewer only when there are no more."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any]) -> ArrivalStream:
        return copy.copy(self)  # nothing in it changes in place


class _Constant(ArrivalStream):
    """Every 1/rate of the node an instance's turn."""

    def __init__(self, start_ns: int, rate: float, index: int, count: int) -> None:
        self._start_ns = start_ns
        self._gap_ns = NS / rate
        self._index, self._count = index, count
        self._sent = 0

    def next(self, n: int) -> NDArray[np.int64]:
        turns = np.arange(self._sent, self._sent + n, dtype=np.float64)
        self._sent += n
        turns *= self._count
        turns += self._index
        turns *= self._gap_ns
        return np.minimum(turns, LATEST_NS, out=turns).astype(np.int64) + self._start_ns


class _Poisson(ArrivalStream):
    """Exponential gaps; with a shape, bent in time by its inverse."""

    def __init__(
        self, start_ns: int, rate: float, seed: tuple[int, ...], inverse: shape.Inverse | None
    ) -> None:
        self._start_ns = start_ns
        self._rate = rate
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._inverse = inverse
        self._sum = 0.0  # of unit-rate gaps so far
        self._latest = 0.0

    def next(self, n: int) -> NDArray[np.int64]:
        sums = self._rng.standard_exponential(n)
        if n:
            # added before the cumulative sum, which adds one by one, so chunks give bit-equal times
            sums[0] += self._sum
            np.cumsum(sums, out=sums)
            self._sum = float(sums[-1])
        if self._inverse is None:
            sums *= NS / self._rate
        else:
            sums = self._inverse(sums / self._rate) * NS
            if n:  # an inverse may step back by its rounding
                sums[0] = max(sums[0], self._latest)
                np.maximum.accumulate(sums, out=sums)
                self._latest = float(sums[-1])
        return np.minimum(sums, LATEST_NS, out=sums).astype(np.int64) + self._start_ns

    def __deepcopy__(self, memo: dict[int, Any]) -> _Poisson:
        twin = copy.copy(self)  # only the generator changes in place, and a deepcopy of it takes 0.2 ms
        twin._rng = np.random.Generator(np.random.PCG64(0))
        twin._rng.bit_generator.state = self._rng.bit_generator.state
        return twin


class _Replay(ArrivalStream):
    """Every count-th entry of the file."""

    def __init__(self, start_ns: int, rate: float, path: str, index: int, count: int) -> None:
        self._start_ns = start_ns
        self._entries = replay.offsets(path)[index::count]
        self._stretch_ns = NS * (replay.natural_rate(path) / rate)
        self._sent = 0

    def next(self, n: int) -> NDArray[np.int64]:
        part = self._entries[self._sent : self._sent + n] * self._stretch_ns
        self._sent += len(part)
        return np.minimum(part, LATEST_NS, out=part).astype(np.int64) + self._start_ns


def stream(
    arrivals: Arrivals, rate: float, start_ns: int, rng_seed: tuple[int, ...], index: int, count: int
) -> ArrivalStream:
    """Instance `index` of `count` of a node whose whole rate is `rate`; "max" has no stream."""
    if arrivals.kind == "constant":
        return _Constant(start_ns, rate, index, count)
    if arrivals.kind == "replay":
        return _Replay(start_ns, rate, arrivals.path, index, count)
    return _Poisson(start_ns, rate / count, (*rng_seed, index), _inverse(arrivals))


def _inverse(arrivals: Arrivals) -> shape.Inverse | None:
    values = arrivals.parameters
    if arrivals.kind == "bursts":
        return shape.bursts(values[0] / NS, values[1])
    if arrivals.kind == "ramp":
        return shape.ramp(values[0], values[1], values[2] / NS)
    if arrivals.kind == "steps":
        return shape.steps(values[0] / NS, values[1:])
    if arrivals.kind == "sine":
        return shape.sine(values[0], values[1] / NS)
    return None
