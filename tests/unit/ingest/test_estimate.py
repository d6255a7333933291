from __future__ import annotations

import random

import pytest

from ingest.estimate import Model, Work, fitted, model_of, starts

FULL = Work(steps=64, frames=163, pixels=848 * 480, guided=True)
SIZES = [
    Work(steps, frames, pixels, guided=True)
    for steps in (8, 32, 64)
    for frames in (7, 85, 163)
    for pixels in (64 * 64, 848 * 480)
]


def test_the_prior_of_a_full_clip_is_what_one_h100_takes_within_a_factor_of_two() -> None:
    # 28 x 30 x 53 latent tokens: about 3.3 PFLOP a step with guidance.
    assert FULL.petaflops / 64 == pytest.approx(3.3, rel=0.1)
    assert 280 < Model().seconds(FULL) < 1120


def test_cost_grows_with_steps_and_faster_than_frames_and_pixels() -> None:
    half = Work(32, 163, 848 * 480, guided=True)
    assert FULL.petaflops == pytest.approx(2 * half.petaflops)
    unguided = Work(64, 163, 848 * 480, guided=False)
    assert FULL.petaflops == pytest.approx(2 * unguided.petaflops)
    short = Work(64, 79, 848 * 480, guided=True)
    assert FULL.petaflops > 2.5 * short.petaflops
    small = Work(64, 163, 424 * 240, guided=True)
    assert FULL.petaflops > 6 * small.petaflops


def test_a_few_finished_renders_scale_the_prior() -> None:
    prior = Model(fixed_s=0.0)
    found = fitted([(work, 3 * prior.seconds(work)) for work in SIZES[:4]])
    assert found.seconds(FULL) == pytest.approx(3 * prior.seconds(FULL))


def test_enough_finished_renders_teach_the_constant_too() -> None:
    true = Model(20.0, 1.0, 0.18)
    found = fitted([(work, true.seconds(work)) for work in SIZES])
    for work in SIZES:
        assert found.seconds(work) == pytest.approx(true.seconds(work), rel=0.01)


def test_noise_and_a_few_odd_renders_do_not_move_the_estimate_far() -> None:
    draw = random.Random(1)
    true = Model(20.0, 1.0, 0.18)
    runs = [(work, true.seconds(work) * draw.uniform(0.9, 1.1)) for work in SIZES * 8]
    stuck = [(work, 30 * true.seconds(work)) for work in SIZES[:6]]
    adopted = [(work, true.seconds(work) / 30) for work in SIZES[-6:]]
    found = fitted(runs + stuck + adopted)
    for work in SIZES:
        assert found.seconds(work) == pytest.approx(true.seconds(work), rel=0.15)


def test_renders_whose_size_does_not_matter_are_a_constant() -> None:
    draw = random.Random(2)
    found = fitted([(work, draw.uniform(0.9, 1.1)) for work in SIZES])
    assert min(found.fixed_s, found.s_per_petaflop, found.s_per_megapixel) >= 0
    assert found.seconds(FULL) < 3


def test_equal_renders_are_estimated_as_they_ran() -> None:
    assert fitted([(FULL, 100.0)] * 20).seconds(FULL) == pytest.approx(100.0)


def test_published_coefficients_win_if_they_are_whole() -> None:
    whole = {"fixed_s": 1.0, "s_per_petaflop": 2.0, "s_per_megapixel": 3.0}
    ran = [(FULL, 100.0)]
    assert model_of(whole, ran) == Model(1.0, 2.0, 3.0)
    assert model_of({"fixed_s": 1.0}, ran).seconds(FULL) == pytest.approx(100.0)
    assert model_of(whole | {"fixed_s": -1.0}, ran).seconds(FULL) == pytest.approx(100.0)
    assert model_of({}, []) == Model()
    assert model_of({}, [(FULL, 0.0)]) == Model()


@pytest.mark.parametrize(
    ("free_in", "waiting", "expected"),
    [
        ([], [1.0], []),
        ([0.0], [], [0.0]),
        ([5.0], [10.0, 10.0], [5.0, 15.0, 25.0]),
        ([5.0, 1.0], [10.0, 1.0, 1.0], [1.0, 5.0, 6.0, 7.0]),
        ([-3.0], [1.0], [0.0, 1.0]),
    ],
)
def test_slots_take_waiting_renders_in_order(
    free_in: list[float], waiting: list[float], expected: list[float]
) -> None:
    assert starts(free_in, waiting) == expected
