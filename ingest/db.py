"""PostgreSQL: the engine, and the migrations that make the tables."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from infra.settings import Settings, settings

#: Session locks of this service live in this class (first key of the two-key form).
LOCK_CLASS: Final = 0x747476
_MIGRATION_LOCK: Final = 0
_STATEMENT_TIMEOUT_MS: Final = 10_000
_LOCK_RETRY: Final = 1.0


def engine(settings: Settings, pool_size: int = 10) -> AsyncEngine:
    """A pool of connections; parameters stay out of errors, for prompts are among them."""
    url = make_url(settings.postgres.get_secret_value()).set(drivername="postgresql+asyncpg")
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5.0,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "timeout": 5.0,
            "command_timeout": _STATEMENT_TIMEOUT_MS / 1000,
            "server_settings": {
                "application_name": "ttv",
                "statement_timeout": str(_STATEMENT_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": "30000",
                # A peer that vanished without a word holds its locks for 25 s, not for two hours.
                "tcp_keepalives_idle": "10",
                "tcp_keepalives_interval": "5",
                "tcp_keepalives_count": "3",
            },
        },
    )


async def hold_lock(connection: AsyncConnection, lock: int, silence: float) -> None:
    """Take a session lock, for as long as the connection lives; wait while another has it.

    Args:
        connection: In no transaction. From now on the holder must be heard from.
        lock: In the class of this service.
        silence: Seconds after which the server ends the session of a holder that is frozen, or
            that only a proxy still holds up, and gives the lock to another.

    Raises:
        sqlalchemy.exc.DBAPIError: the database cannot be reached.
    """
    take = text("SELECT pg_try_advisory_lock(:space, :lock)")
    limit = text("SELECT set_config('idle_session_timeout', :ms, false)")
    while True:
        got = await connection.scalar(take, {"space": LOCK_CLASS, "lock": lock})
        if got:
            await connection.execute(limit, {"ms": str(int(silence * 1000))})
        await connection.commit()
        if got:
            return
        await asyncio.sleep(_LOCK_RETRY)


def migrate(settings: Settings) -> None:
    """Bring the database to the newest revision; safe to repeat, and to run twice at once.

    Raises:
        OSError, sqlalchemy.exc.DBAPIError: the database cannot be reached or refuses.
    """
    asyncio.run(_migrate(settings))


async def _migrate(settings: Settings) -> None:
    database = engine(settings, pool_size=1)
    try:
        async with database.begin() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:space, :lock)"),
                {"space": LOCK_CLASS, "lock": _MIGRATION_LOCK},
            )
            await connection.run_sync(_upgrade)
    finally:
        await database.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(files("ingest") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


if __name__ == "__main__":
    migrate(settings())
