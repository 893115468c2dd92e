"""What every page shows."""

from typing import Any

from django.http import HttpRequest


def favourites(request: HttpRequest) -> dict[str, Any]:
    """The number of the visitor's favourites, from the session; which a page that does not show it never asks for."""
    return {"favourite_count": lambda: len(request.session.get("favourites", []))}
