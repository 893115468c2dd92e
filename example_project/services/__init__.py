"""The same towns without Django: SQLAlchemy with a dogpile region, and two asyncio services."""
