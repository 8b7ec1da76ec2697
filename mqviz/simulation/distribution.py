"""Distribution: what service times and sizes are drawn from.

    constant(x), or just x · exponential(mean) · uniform(a, b) · lognormal(median, sigma) · pareto(min, alpha)

Sizes are clipped to 40 B (the header) … 16 MiB when drawn, service times to one hour.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from mqviz.channels.message import HEADER_BYTES
from mqviz.errors import ScenarioError
from mqviz.simulation.call import parse_call
from mqviz.simulation.units import DURATION, PLAIN, SIZE, Unit, format_size

MAX_SIZE = 16 << 20
MAX_SERVICE_NS = 3_600_000_000_000
MAX_SIGMA = 5.0

_UNITS = {"duration": DURATION, "size": SIZE}
_PARAMETERS = {
    "constant": ("x",),
    "exponential": ("mean",),
    "uniform": ("a", "b"),
    "lognormal": ("median", "sigma"),
    "pareto": ("min", "alpha"),
}
_PLAIN_SECOND = ("lognormal", "pareto")


class Distribution(msgspec.Struct, frozen=True):
    """A named distribution with one or two parameters, in ns or bytes."""

    kind: str
    first: float
    second: float = 0.0
    quantity: str = "duration"  # duration | size

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """n values."""
        if self.kind == "exponential":
            return rng.standard_exponential(n) * self.first
        if self.kind == "uniform":
            return rng.random(n) * (self.second - self.first) + self.first
        if self.kind == "lognormal":
            return np.exp(rng.standard_normal(n) * self.second) * self.first
        if self.kind == "pareto":
            # min · U^(-1/alpha), and -log U is exponential; the exponent is bounded so that it stays finite
            return np.exp(np.minimum(rng.standard_exponential(n) / self.second, 60.0)) * self.first
        return np.full(n, self.first)

    @property
    def mean(self) -> float:
        """The mean, before any clipping."""
        if self.kind == "uniform":
            return (self.first + self.second) / 2
        if self.kind == "lognormal":
            return self.first * math.exp(self.second**2 / 2)
        if self.kind == "pareto":
            return self.first * self.second / (self.second - 1)
        return self.first

    @property
    def is_constant(self) -> bool:
        """Every draw is the same."""
        return self.kind == "constant"

    @property
    def text(self) -> str:
        """As a user writes it; parsing it gives an equal distribution."""
        unit = _UNITS[self.quantity]
        if self.is_constant:
            return unit.format(self.first)
        parts = [unit.format(self.first)]
        if len(_PARAMETERS[self.kind]) == 2:
            parts.append((PLAIN if self.kind in _PLAIN_SECOND else unit).format(self.second))
        return f"{self.kind}({', '.join(parts)})"


def parse_distribution(value: object, quantity: str) -> Distribution:
    """From a text, or a number for a constant; `quantity` is duration or size."""
    unit = _UNITS[quantity]
    if not isinstance(value, str) or value.strip()[:1] in tuple("0123456789.-+"):
        return Distribution("constant", unit.parse(value), quantity=quantity)
    call = parse_call(value, tuple(_PARAMETERS), f"a {quantity} or a distribution")
    second: Unit = PLAIN if call.name in _PLAIN_SECOND else unit
    values = call.values(_PARAMETERS[call.name], (unit, second)[: len(_PARAMETERS[call.name])])
    distribution = Distribution(call.name, values[0], values[1] if len(values) > 1 else 0.0, quantity)
    problem = _problem(distribution)
    if problem:
        raise ScenarioError("", problem)
    return distribution


def _problem(distribution: Distribution) -> str:
    """Why the parameters cannot be used, or nothing."""
    kind, first, second = distribution.kind, distribution.first, distribution.second
    if kind == "uniform" and second < first:
        return "uniform(a, b) needs a <= b"
    if kind in ("exponential", "lognormal", "pareto") and first <= 0:
        return f"the first value of {kind} must be above 0"
    if kind == "lognormal" and second > MAX_SIGMA:
        return f"sigma of lognormal must be 0 to {MAX_SIGMA:g}"
    if kind == "pareto" and second <= 1:
        return "alpha of pareto must be above 1: otherwise there is no mean"
    return ""


def parse_service_distribution(value: object) -> Distribution:
    """A service time."""
    distribution = parse_distribution(value, "duration")
    if distribution.mean > MAX_SERVICE_NS:
        raise ScenarioError("", "a mean service time is at most 1h")
    return distribution


def parse_size_distribution(value: object) -> Distribution:
    """A message size: header and payload."""
    distribution = parse_distribution(value, "size")
    lowest = (
        distribution.first if distribution.kind in ("constant", "uniform", "pareto") else distribution.mean
    )
    highest = distribution.second if distribution.kind == "uniform" else distribution.mean
    if lowest < HEADER_BYTES:
        raise ScenarioError("", f"a message has at least {HEADER_BYTES}B: the header is part of its size")
    if highest > MAX_SIZE:
        raise ScenarioError("", f"a message has at most {format_size(MAX_SIZE)}")
    return distribution


def draw_sizes(distribution: Distribution, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """n sizes in bytes, within what a message can have."""
    return np.clip(distribution.draw(rng, n), HEADER_BYTES, MAX_SIZE).astype(np.int64)


def draw_service(distribution: Distribution, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """n service times in ns."""
    return np.clip(distribution.draw(rng, n), 0, MAX_SERVICE_NS).astype(np.int64)
