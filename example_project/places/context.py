"""What every page shows."""

from typing import Any

from django.http import HttpRequest


def favourites(request: HttpRequest) -> dict[str, Any]:
    """The number of the visitor's favourites, from the session."""
    return {"favourite_count": len(request.session.get("favourites", []))}
