"""The expensive database queries of the pages. Each returns plain values, ready to be cached."""

from __future__ import annotations

from typing import Any

from django.db.models import Avg, Count, F, FloatField, Max, Q, Sum
from django.db.models.functions import Abs, Cast

from .models import Country, Town


def world() -> dict[str, Any]:
    """Totals and rankings over every town."""
    totals = Town.objects.aggregate(towns=Count("pk"), people=Sum("population"), mean=Avg("population"))
    ranking = (
        Country.objects.annotate(
            town_count=Count("towns"), town_people=Sum("towns__population"), largest=Max("towns__population")
        )
        .filter(town_count__gt=0)
        .order_by("-town_people")
    )
    rows = list(ranking.values("iso", "name", "continent", "town_count", "town_people", "largest")[:40])
    most = rows[0]["town_people"] if rows else 1
    for row in rows:
        row["share"] = round(100 * row["town_people"] / most, 1)
    largest = list(Town.objects.values("pk", "name", "country_id", "population")[:10])
    return {"totals": totals, "rows": rows, "largest": largest}


def country(iso: str) -> dict[str, Any] | None:
    """One country with its regions and largest towns; None if there is no such country."""
    found = Country.objects.filter(iso=iso).values().first()
    if found is None:
        return None
    towns = Town.objects.filter(country_id=iso)
    regions = list(
        towns.values("region")
        .annotate(towns=Count("pk"), people=Sum("population"), largest=Max("population"))
        .order_by("-people")[:15]
    )
    return {
        "country": found,
        "totals": towns.aggregate(towns=Count("pk"), people=Sum("population"), mean=Avg("population")),
        "regions": regions,
        "largest": list(towns.values("pk", "name", "region", "population")[:20]),
    }


def town(pk: int) -> dict[str, Any] | None:
    """One town with its neighbours and its rank; None if there is no such town."""
    found = Town.objects.filter(pk=pk).values(*_TOWN, "country__name").first()
    if found is None:
        return None
    distance = Abs(F("latitude") - found["latitude"]) + Abs(F("longitude") - found["longitude"])
    near = Town.objects.exclude(pk=pk).annotate(distance=Cast(distance, FloatField())).order_by("distance")
    larger = Q(population__gt=found["population"])
    ranks = Town.objects.aggregate(
        world=Count("pk", filter=larger), country=Count("pk", filter=larger & Q(country=found["country_id"]))
    )
    return {
        "town": found,
        "near": list(near.values("pk", "name", "country_id", "population")[:8]),
        "rank_world": ranks["world"] + 1,
        "rank_country": ranks["country"] + 1,
    }


_TOWN = ("pk", "name", "country_id", "region", "population", "latitude", "longitude", "timezone")


def search(words: str) -> list[dict[str, Any]]:
    """Towns whose name contains the words, largest first. Scans the whole table."""
    return list(
        Town.objects.filter(name__icontains=words).values("pk", "name", "country__name", "country_id", "population")[
            :50
        ]
    )


async def near(pk: int) -> dict[str, Any] | None:
    """The eight towns nearest to a town, by an asynchronous query; None without such a town."""
    found = await Town.objects.filter(pk=pk).values("name", "latitude", "longitude").afirst()
    if found is None:
        return None
    distance = Abs(F("latitude") - found["latitude"]) + Abs(F("longitude") - found["longitude"])
    rows = Town.objects.exclude(pk=pk).annotate(distance=Cast(distance, FloatField())).order_by("distance")
    return {"town": found["name"], "near": [row async for row in rows.values("pk", "name", "population")[:8]]}


async def zones() -> list[dict[str, Any]]:
    """Time zones with their towns and population, by an asynchronous query."""
    rows = Town.objects.values("timezone").annotate(towns=Count("pk"), people=Sum("population")).order_by("-people")
    return [row async for row in rows[:40]]
