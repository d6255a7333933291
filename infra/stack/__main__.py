"""Entry point of the stack's own two processes: ``python -m infra.stack keeper|starter DIR``."""

from __future__ import annotations

import sys

from infra.stack import keeper, starter

if __name__ == "__main__":
    {"keeper": keeper.main, "starter": starter.main}[sys.argv[1]](*sys.argv[2:])
