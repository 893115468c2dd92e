"""The asyncio methods of the cache. Those in `blocking` are generated from them."""
