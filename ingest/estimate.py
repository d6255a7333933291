"""How long a render takes, and when a waiting one will start. Pure; every number is an estimate.

The prior is Mochi-1's own arithmetic: a denoising step runs the transformer over every latent token
(twice with guidance), linear layers cost in proportion to the tokens, attention in proportion to
their square; decoding costs in proportion to the pixels. How fast a pool does that is learnt from
what it has finished.
"""

from __future__ import annotations

import heapq
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# Mochi-1 preview: config.json of its transformer, and the VAE's compression.
_LAYERS: Final = 48
_WIDTH: Final = 3072
#: Of the gated feed-forward layer, which has three matrices.
_INNER: Final = 8192
_TEXT_TOKENS: Final = 256
#: 8 by the VAE, 2 by the patches.
_PIXELS_A_TOKEN: Final = 16 * 16
_FRAMES_A_LATENT: Final = 6

#: What one H100 does in bf16 with attention included, and how fast its VAE decodes.
_PRIOR: Final = {"fixed_s": 5.0, "s_per_petaflop": 2.5, "s_per_megapixel": 0.45}
#: Clean runs below which the prior's shape is kept and only its scale is learnt.
_ENOUGH: Final = 8
#: A run this many times the typical error off is no measure of the others.
_OUTLIER: Final = 4.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a render's time depends on.

    Attributes:
        steps: Denoising steps.
        frames: Of the video.
        pixels: Of a frame.
        guided: Whether each step runs twice, with the prompt and without.
    """

    steps: int
    frames: int
    pixels: int
    guided: bool

    @property
    def petaflops(self) -> float:
        """Operations of the denoising loop, in 10^15."""
        latents = (self.frames - 1) // _FRAMES_A_LATENT + 1
        tokens = latents * self.pixels / _PIXELS_A_TOKEN
        linear = 2 * (4 * _WIDTH**2 + 3 * _WIDTH * _INNER)
        attention = 4 * (tokens + _TEXT_TOKENS) * _WIDTH
        passes = self.steps * (2 if self.guided else 1)
        return passes * _LAYERS * tokens * (linear + attention) / 1e15

    @property
    def megapixels(self) -> float:
        """Pixels that are decoded and encoded, in 10^6."""
        return self.frames * self.pixels / 1e6


@dataclass(frozen=True, slots=True)
class Model:
    """Run time of a render: a constant, and a price for each kind of work; all in seconds."""

    fixed_s: float = _PRIOR["fixed_s"]
    s_per_petaflop: float = _PRIOR["s_per_petaflop"]
    s_per_megapixel: float = _PRIOR["s_per_megapixel"]

    def seconds(self, work: Work) -> float:
        """From a render's start to its end."""
        return (
            self.fixed_s
            + self.s_per_petaflop * work.petaflops
            + self.s_per_megapixel * work.megapixels
        )


def model_of(coefficients: Mapping[str, float], finished: Sequence[tuple[Work, float]]) -> Model:
    """The best model there is.

    Args:
        coefficients: Of a pool's outlook, named as the fields of :class:`Model`; they win if all
            three are there.
        finished: Undisturbed renders of the pool and how many seconds each took.
    """
    names = ("fixed_s", "s_per_petaflop", "s_per_megapixel")
    given = [coefficients.get(name, -1.0) for name in names]
    if all(value >= 0 for value in given):
        return Model(*given)
    return fitted([(work, seconds) for work, seconds in finished if seconds > 0])


def fitted(finished: Sequence[tuple[Work, float]]) -> Model:
    """The prior, scaled to what was measured, with the constant learnt once there is enough.

    Medians (the estimator of Theil and Sen) find the line, so that renders that are no measure of
    the others, adopted in a second or held up by a store, do not move it. Relative errors then
    count, so that a long render does not outweigh a hundred short ones.
    """
    if not finished:
        return Model()
    marginal = Model(fixed_s=0.0)
    points = [(marginal.seconds(work), seconds) for work, seconds in finished]
    fixed, scale = _through_medians(points)
    errors = [abs(math.log((fixed + scale * x) / y)) for x, y in points]
    bound = _OUTLIER * max(statistics.median(errors), 0.02)
    kept = [point for point, error in zip(points, errors, strict=True) if error <= bound]
    if len(kept) >= _ENOUGH:
        fixed, scale = _least_squares(kept)
    return Model(fixed, scale * marginal.s_per_petaflop, scale * marginal.s_per_megapixel)


def _through_medians(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Constant and slope, neither negative; of few points, or of one size, the slope alone."""
    ratio = statistics.median(y / x for x, y in points)
    ordered = sorted(points)
    slopes = [
        (y2 - y1) / (x2 - x1)
        for n, (x1, y1) in enumerate(ordered)
        for x2, y2 in ordered[n + 1 :]
        if x2 > 1.01 * x1
    ]
    if len(points) < _ENOUGH or not slopes:
        return 0.0, ratio
    slope = max(0.0, statistics.median(slopes))
    fixed = statistics.median(y - slope * x for x, y in points)
    return (fixed, slope) if fixed > 0 else (0.0, ratio)


def _least_squares(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Constant and slope, neither negative, with the least sum of squared relative errors."""
    # (a + b x - y) / y = a u + b v - 1, with u = 1 / y and v = x / y.
    rows = [(1 / y, x / y) for x, y in points]
    uu = sum(u * u for u, _ in rows)
    uv = sum(u * v for u, v in rows)
    vv = sum(v * v for _, v in rows)
    su, sv = sum(u for u, _ in rows), sum(v for _, v in rows)
    determinant = uu * vv - uv * uv
    if determinant <= 1e-9 * uu * vv:  # renders of one size say nothing of the constant
        return 0.0, sv / vv
    fixed = (su * vv - sv * uv) / determinant
    slope = (sv * uu - su * uv) / determinant
    if fixed < 0:
        return 0.0, sv / vv
    if slope < 0:
        return su / uu, 0.0
    return fixed, slope


def starts(free_in: Iterable[float], waiting: Iterable[float]) -> list[float]:
    """When each waiting render starts, in seconds from now, if slots take them in order.

    Args:
        free_in: For each working slot, seconds until it takes work.
        waiting: Run times of the waiting renders, in the order in which they will be taken.

    Returns:
        A start for each, and one more: that of a render at the queue's end. Empty without slots.
    """
    slots = [max(0.0, seconds) for seconds in free_in]
    if not slots:
        return []
    heapq.heapify(slots)
    found = []
    for seconds in waiting:
        found.append(slots[0])
        heapq.heapreplace(slots, slots[0] + seconds)
    found.append(slots[0])
    return found
