"""``python -m gpu_consumer``: one GPU slot.

The model is loaded before the slot is opened, so that no work waits for it. Crash-only: what went
wrong ends the process; the next one resumes the slot's unfinished order.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from typing import Final

import stamina
from confluent_kafka import KafkaException

import rust_guard
from gpu_consumer.render.events import Died, Ready
from gpu_consumer.render.renderer import Renderer
from gpu_consumer.slot_log import FencedError, SlotLog
from gpu_consumer.worker import OrderError, Worker
from infra.settings import STAND_IN, Settings, settings
from infra.telemetry import log, start
from infra.transactions import TransactionError
from schemas.codec import codec
from schemas.errors import CodecError

#: How long a slot that starts waits for the store.
_PATIENCE: Final = 300.0


def _guard(config: Settings) -> rust_guard.Guard:
    guard = rust_guard.Guard(
        config.s3_endpoint,
        config.s3_bucket,
        config.s3_access_key,
        config.s3_secret_key.get_secret_value(),
        config.s3_region,
    )
    for again in stamina.retry_context(
        rust_guard.StoreUnavailable, attempts=None, timeout=_PATIENCE
    ):
        with again:  # the model is being loaded meanwhile
            guard.probe()
    return guard


def _await_model(renderer: Renderer) -> Ready:
    """Wait until the child has loaded the model; it is restarted with back-off until it can."""
    while True:
        for event in renderer.poll(0.5):
            if isinstance(event, Ready):
                return event
            if isinstance(event, Died):
                log().error("model.not_loaded", code=event.code, detail=event.detail)


def main() -> int:
    """Work for the slot in the settings until SIGTERM."""
    config = settings()
    start(f"gpu-{config.slot}", config)
    config.work_dir.mkdir(parents=True, exist_ok=True)
    for pattern in ("*.mp4*", "*.safetensors", "*.part"):
        for left in config.work_dir.glob(pattern):
            left.unlink()
    renderer = Renderer(config)
    renderer.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        guard = _guard(config)
        ready = _await_model(renderer)
    except rust_guard.GuardError as error:
        log().error("guard.refused", code=error.code, error=str(error))
        renderer.close()
        return 1
    if ready.model == STAND_IN:
        log().warning("model.stand_in", device=ready.device_name, remedy="for load tests alone")
    worker = Worker(
        config, codec(config.registry), SlotLog(config, str(uuid.uuid4())), renderer, guard
    )
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    signal.signal(signal.SIGINT, lambda *_: worker.stop())
    try:
        worker.run(ready)
    except FencedError as error:
        log().warning("slot.lost", slot=config.slot, error=str(error))
        return 1
    except (TransactionError, KafkaException, OrderError, CodecError) as error:
        log().error("slot.ended", slot=config.slot, error=str(error), kind=type(error).__name__)
        return 1
    finally:
        worker.close()
    return 0


if __name__ == "__main__":
    status = 1
    try:
        status = main()
    except Exception:  # noqa: BLE001 whatever it is ends the process, and is said
        log().exception("slot.crashed")
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(status)  # the guard's thread may be waiting for the store; it is not needed
