"""The tree itself: imports, sizes, prose, public names, and whether the tests catch seeded bugs."""
