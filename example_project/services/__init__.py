"""The same towns without Django: SQLAlchemy with a dogpile region, and two small asyncio services."""
