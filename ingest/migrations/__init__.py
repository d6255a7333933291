"""The database's history: run by ``ingest.db.migrate``."""
