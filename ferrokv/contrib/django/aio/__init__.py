"""The cache's methods for asyncio, from which those in `blocking` are made."""
