"""Context for every page."""

from typing import Any

from django.http import HttpRequest


def favourites(request: HttpRequest) -> dict[str, Any]:
    """The number of the visitor's favourites, read from the session only if a page shows it."""
    return {"favourite_count": lambda: len(request.session.get("favourites", []))}
