from tests.integration.scheduler.conftest import pool

__all__ = ["pool"]
