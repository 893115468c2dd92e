"""Invalidation: saving a town, in any process, ends every cached answer that contains it."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache, caches
from django.core.cache.utils import make_template_fragment_key
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from .models import Town

WORLD = "world"


def country_tag(iso: str) -> str:
    """The tag of every answer about a country."""
    return f"country:{iso}"


def town_tag(pk: int) -> str:
    """The tag of every answer about a town."""
    return f"town:{pk}"


@receiver([post_save, post_delete], sender=Town)
def forget(instance: Town, **kwargs: Any) -> None:
    """Invalidate after the database commit, so that nobody recomputes from old data."""
    transaction.on_commit(lambda: _forget(instance))


def _forget(town: Town) -> None:
    # One sync for all of it. Deleting a tag costs the same however many answers carry it.
    with cache.pipelined():
        cache.delete_tag(WORLD, country_tag(town.country_id), town_tag(town.pk))
        cache.delete(make_template_fragment_key("regions", [town.country_id]))
        caches["pages"].clear()
