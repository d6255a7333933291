"""The scheduler: one transactional fold over a pool's inbox. See streams/README.md."""
