"""The app. `INSTALLED_APPS = [..., "ferrokv.contrib.django"]` adds system checks and commands.

The cache works without it.
"""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register

from .checks import TAG, check_locations, check_settings, check_stores


class FerroKVConfig(AppConfig):
    """Registers the checks."""

    name = "ferrokv.contrib.django"
    label = "ferrokv"
    verbose_name = "ferrokv"

    def ready(self) -> None:
        """Called once by Django."""
        register(check_settings, TAG)
        register(check_locations, TAG)
        register(check_stores, TAG, deploy=True)
