"""The API's rate limits: GCRA, shared by replicas through Valkey or Redis, else in memory."""
