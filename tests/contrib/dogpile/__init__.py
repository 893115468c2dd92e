"""The dogpile.cache backend."""
