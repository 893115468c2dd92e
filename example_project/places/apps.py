"""The app of the example site."""

from django.apps import AppConfig


class PlacesConfig(AppConfig):
    """Connects the signals."""

    name = "places"

    def ready(self) -> None:
        """Called once by Django."""
        from . import signals  # noqa: F401
