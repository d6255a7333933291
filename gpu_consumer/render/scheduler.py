"""The pipeline's scheduler, begun in the middle. Runs in the render child."""

from __future__ import annotations

from typing import Any

import diffusers as partly_typed_diffusers

diffusers: Any = partly_typed_diffusers


class StartingAt(diffusers.FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]  # untyped
    """Euler's scheduler over the same schedule, whose first ``start`` steps are already done.

    The timesteps that the pipeline loops over lack the first ``start``; the sigmas stay whole, and
    the index into them is moved. Cutting the timesteps alone would step with the wrong sigmas.
    """

    start = 0
    timesteps: Any

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        # The pipeline looks for a parameter of this very name.
        sigmas: list[float] | None = None,
        mu: float | None = None,
        timesteps: list[float] | None = None,
    ) -> None:
        """The whole schedule, as diffusers computes it, less the timesteps that are done."""
        super().set_timesteps(num_inference_steps, device, sigmas, mu, timesteps)
        self.timesteps = self.timesteps[self.start :]

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Index of the first sigma: the pipeline counts from the first step that is left."""
        super().set_begin_index(begin_index + self.start)


def starting_at(scheduler: Any, start: int) -> StartingAt:
    """A scheduler configured as ``scheduler``, for the steps after the first ``start``."""
    begun: StartingAt = StartingAt.from_config(scheduler.config)
    begun.start = start
    return begun
