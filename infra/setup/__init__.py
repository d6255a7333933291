"""Set-up of a checkout: the Python environment, the Rust library and the servers, all pinned."""
