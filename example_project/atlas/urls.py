"""Addresses of the example site."""

from django.urls import path
from places import views

urlpatterns = [
    path("", views.world, name="world"),
    path("country/<str:iso>/", views.country, name="country"),
    path("town/<int:pk>/", views.town, name="town"),
    path("town/<int:pk>/favourite/", views.toggle_favourite, name="toggle_favourite"),
    path("search/", views.search, name="search"),
    path("favourites/", views.favourites, name="favourites"),
    path("zones/", views.zones, name="zones"),
    path("store/", views.store, name="store"),
]
