"""How busy a GPU is, asked of the driver's own library when there is one."""

from __future__ import annotations

import ctypes
from typing import Any


class _Utilisation(ctypes.Structure):
    """nvmlUtilization_t: percent over the driver's last sample period."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class Utilisation:
    """Reads one GPU's utilisation; always None where NVML or the GPU is not there."""

    def __init__(self, uuid: str | None) -> None:
        """Looks up the GPU with ``uuid`` (as the driver writes it: ``GPU-...``); None: no GPU."""
        self._library: Any = None
        self._handle = ctypes.c_void_p()
        if uuid is None:
            return
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
            found = (
                library.nvmlInit_v2() == 0
                and library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(self._handle))
                == 0
            )
        except (OSError, AttributeError):
            return
        if found:
            self._library = library

    def read(self) -> float | None:
        """Share of the last sample period in which a kernel ran, 0 to 1; None: unknown."""
        if self._library is None:
            return None
        used = _Utilisation()
        if self._library.nvmlDeviceGetUtilizationRates(self._handle, ctypes.byref(used)) != 0:
            return None
        return min(float(used.gpu) / 100.0, 1.0)
