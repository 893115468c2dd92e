"""The aiocache backend."""
