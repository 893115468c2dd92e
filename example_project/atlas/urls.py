"""URLs of the example site."""

from django.contrib.auth import views as auth
from django.urls import path
from places import accounts, views

urlpatterns = [
    path("", views.world, name="world"),
    path("country/<str:iso>/", views.country, name="country"),
    path("town/<int:pk>/", views.town, name="town"),
    path("town/<int:pk>/edit/", views.edit_town, name="edit_town"),
    path("town/<int:pk>/near.json", views.near, name="near"),
    path("town/<int:pk>/favourite/", views.toggle_favourite, name="toggle_favourite"),
    path("search/", views.search, name="search"),
    path("favourites/", views.favourites, name="favourites"),
    path("zones/", views.zones, name="zones"),
    path("store/", views.store, name="store"),
    path("about/", views.about, name="about"),
    path("account/", accounts.account, name="account"),
    path("account/new/", accounts.sign_up, name="sign_up"),
    path("account/sign-in/", auth.LoginView.as_view(template_name="places/sign_in.html"), name="sign_in"),
    path("account/sign-out/", auth.LogoutView.as_view(), name="sign_out"),
    path("account/sign-out-everywhere/", accounts.sign_out_everywhere, name="sign_out_everywhere"),
]
