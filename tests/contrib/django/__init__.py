"""The Django cache and the session engine."""
