"""How a handle is called from threads. Made from `aio`, but for this line."""
