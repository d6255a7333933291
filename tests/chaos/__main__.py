"""A seeded storm: jobs flow in over HTTP and Kafka while everything is struck that can be.

    python -m tests.chaos [--seed N] [--size real|many|brief] [--jobs N] [--faults N] [--gpus N]
                          [--parts gpu,scheduler] [--kinds kill,crash] [--points gpu_after_claim]

It starts a stack of its own, keeps its own journal of what was accepted outside of it, and ends
with the checker's verdict: JSON on standard output, exit status 1 unless nothing was lost,
repeated, torn or told wrongly. The seed repeats the jobs and the schedule of faults; the machine
decides what each one hits.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import replace

from tests.chaos.plan import Wanted
from tests.chaos.storm import BRIEF, MANY, REAL, Size, say, storm

_SIZES = {"real": REAL, "many": MANY, "brief": BRIEF}


def _names(text: str) -> frozenset[str]:
    return frozenset(name for name in text.split(",") if name)


def _size(args: argparse.Namespace) -> Size:
    size = _SIZES[args.size]
    changes = {
        name: value
        for name in ("jobs", "faults", "gpus", "window", "minutes")
        if (value := getattr(args, name)) is not None
    }
    if args.model:
        changes["settings"] = size.settings | {"TTV_MODEL": args.model}
    return replace(size, **changes)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--size", choices=sorted(_SIZES), default="real")
    parser.add_argument("--jobs", type=int, help="at least so many")
    parser.add_argument("--faults", type=int, help="at least so many that hit work in flight")
    parser.add_argument("--gpus", type=int, help="GPU consumers")
    parser.add_argument("--window", type=int, help="jobs that may be unfinished at a time")
    parser.add_argument("--minutes", type=float, help="broken off after so long")
    parser.add_argument("--model", default="", help="what the GPU consumers render with")
    parser.add_argument("--parts", type=_names, default=_names(""), help="strike these alone")
    parser.add_argument("--kinds", type=_names, default=_names(""), help="these kinds alone")
    parser.add_argument("--points", type=_names, default=_names(""), help="these points alone")
    args = parser.parse_args()
    report = storm(args.seed, _size(args), Wanted(args.parts, args.kinds, args.points))
    for line in report.text():
        say(line)
    sys.stdout.write(json.dumps(report.as_json(), indent=1) + "\n")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
