"""How a handle is called from asyncio. The Protocols in `blocking` are made from these."""
