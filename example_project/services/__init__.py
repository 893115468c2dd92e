"""The same towns for programs without Django: SQLAlchemy through a dogpile region, and two small asyncio services."""
