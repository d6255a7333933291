"""The whole service on one machine, under a supervisor: see README.md in this folder."""

from infra.stack.info import Process, StackInfo
from infra.stack.stack import Stack, StackError
from infra.stack.supervision import AlreadyRunningError, NotRunningError

__all__ = [
    "AlreadyRunningError",
    "NotRunningError",
    "Process",
    "Stack",
    "StackError",
    "StackInfo",
]
