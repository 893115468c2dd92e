"""The tables of the example site, as SQLAlchemy sees them."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """All tables."""


class Country(Base):
    """A country; `iso` is its two-letter code."""

    __tablename__ = "places_country"

    iso: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    capital: Mapped[str]
    continent: Mapped[str]
    area_km2: Mapped[int]
    population: Mapped[int]
    currency: Mapped[str]
    languages: Mapped[str]
    towns: Mapped[list[Town]] = relationship(back_populates="country")


class Town(Base):
    """A populated place, by GeoNames number."""

    __tablename__ = "places_town"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    country_id: Mapped[str] = mapped_column(ForeignKey("places_country.iso"))
    region: Mapped[str]
    population: Mapped[int]
    latitude: Mapped[float]
    longitude: Mapped[float]
    timezone: Mapped[str]
    country: Mapped[Country] = relationship(back_populates="towns")
