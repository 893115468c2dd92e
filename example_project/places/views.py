"""The pages. Each gets its data through the cache and shows where it came from."""

from __future__ import annotations

import time
from typing import Any

from aiocache import cached
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.cache import cache, caches
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ferrokv import BlockingFerroKV
from ferrokv.contrib.aiocache import FerroKVCache

from . import queries
from .forms import TownForm
from .models import Town
from .provenance import Provenance, remembered
from .signals import WORLD, country_tag, town_tag

SEARCH_CHARACTERS_MAX = 60
FAVOURITES_MAX = 50


def _page(request: HttpRequest, template: str, provenance: Provenance, context: dict[str, Any]) -> HttpResponse:
    """Render a page, with its provenance in the footer and in a header."""
    response = render(request, f"places/{template}.html", {**context, "provenance": provenance})
    response["X-Served-From"] = provenance.header()
    return response


def _count(page: str) -> int:
    """Count a visit with an atomic INCR, which is exact whoever else is counting."""
    return caches["counters"].incr(page, ignore_key_check=True)


@never_cache
@require_GET
def world(request: HttpRequest) -> HttpResponse:
    """Aggregates over all towns."""
    data, provenance = remembered("world", queries.world, [WORLD])
    return _page(request, "world", provenance, {**data, "visits": _count("world")})


@never_cache
@require_GET
def country(request: HttpRequest, iso: str) -> HttpResponse:
    """Aggregates over one country."""
    if not (len(iso) == 2 and iso.isascii() and iso.isalpha()):
        raise Http404
    iso = iso.upper()
    data, provenance = remembered(f"country:{iso}", lambda: queries.country(iso), [country_tag(iso)])
    if data is None:
        raise Http404
    return _page(request, "country", provenance, {**data, "visits": _count(f"country:{iso}")})


@never_cache
@require_GET
def town(request: HttpRequest, pk: int) -> HttpResponse:
    """One town and what is near it."""
    # Its ranks depend on every town in the world, and its neighbours on those of its country at
    # least.
    data, provenance = remembered(f"town:{pk}", lambda: queries.town(pk), [town_tag(pk), WORLD])
    if data is None:
        raise Http404
    kept = pk in request.session.get("favourites", [])
    return _page(request, "town", provenance, {**data, "visits": _count(f"town:{pk}"), "is_favourite": kept})


@never_cache
@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """Towns by part of their name."""
    words = request.GET.get("q", "").replace("\0", "").strip()[:SEARCH_CHARACTERS_MAX]
    found, provenance = [], Provenance("cache", 0.0)
    if words:
        key = "search:" + words.lower().encode().hex()
        found, provenance = remembered(key, lambda: queries.search(words), [WORLD])
    return _page(request, "search", provenance, {"words": words, "found": found})


@never_cache
@login_required
@require_http_methods(["GET", "POST"])
def edit_town(request: HttpRequest, pk: int) -> HttpResponse:
    """Edit a town. Saving it ends every cached answer that contains it (signals.py)."""
    form = TownForm(request.POST or None, instance=get_object_or_404(Town, pk=pk))
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("town", pk=pk)
    return render(request, "places/edit_town.html", {"form": form, "town": form.instance})


@never_cache
@require_GET
async def near(request: HttpRequest, pk: int) -> HttpResponse:
    """What is near a town, as JSON: an asynchronous view that needs no thread on a hit."""
    data = await cache.aget_or_set(f"near:{pk}", lambda: queries.near(pk), 600, tags=[town_tag(pk), WORLD])
    if data is None:
        raise Http404
    return JsonResponse(data)


@require_POST
def toggle_favourite(request: HttpRequest, pk: int) -> HttpResponse:
    """Add a town to the favourites in the session, or remove it."""
    kept = request.session.get("favourites", [])
    if pk in kept:
        kept.remove(pk)
    elif Town.objects.filter(pk=pk).exists():
        kept = [*kept, pk][-FAVOURITES_MAX:]
    request.session["favourites"] = kept
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts=None):
        target = reverse("town", args=[pk])
    return redirect(target)


@never_cache
@require_GET
def favourites(request: HttpRequest) -> HttpResponse:
    """The towns in the visitor's session."""
    start = time.perf_counter()
    kept = request.session.get("favourites", [])
    provenance = Provenance("session", (time.perf_counter() - start) * 1e6)
    towns = Town.objects.filter(pk__in=kept).select_related("country")
    return _page(request, "favourites", provenance, {"towns": towns})


@cached(ttl=600, key="zones", cache=FerroKVCache, path=settings.STORE)
async def _zones() -> dict[str, Any]:
    """The database's answer and when it was asked; aiocache keeps both."""
    return {"rows": await queries.zones(), "asked": time.time()}


@never_cache
async def zones(request: HttpRequest) -> HttpResponse:
    """Time zones: an asynchronous view over aiocache's decorator."""
    began = time.time()
    start = time.perf_counter()
    data = await _zones()
    source = "cache" if data["asked"] < began else "database"
    provenance = Provenance(source, (time.perf_counter() - start) * 1e6)
    most = data["rows"][0]["people"] if data["rows"] else 1
    rows = [{**row, "share": round(100 * row["people"] / most, 1)} for row in data["rows"]]
    # Load session and user here, so that the template's access does not block.
    await request.session.aget("favourites")
    request.user = await request.auser()
    return _page(request, "zones", provenance, {"rows": rows})


@require_GET
def about(request: HttpRequest) -> HttpResponse:
    """A page that is the same for everybody. Django's per-site cache keeps it for a minute."""
    return render(request, "places/about.html", {"rendered": timezone.now(), "personal": False})


@never_cache
@require_GET
def store(request: HttpRequest) -> HttpResponse:
    """The store behind the site."""
    start = time.perf_counter()
    with BlockingFerroKV.open(settings.STORE) as db:
        stats = db.stats()
    provenance = Provenance("memory", (time.perf_counter() - start) * 1e6)
    levels = [(number, level) for number, level in enumerate(stats.levels) if level.tables]
    facts = {
        name.replace("_", " "): value
        for name, value in stats._asdict().items()
        if name not in ("levels", "keyspaces", "quotas", "store_id", "path")
    }
    facts["other processes"] = ", ".join(str(process.pid) for process in facts.pop("processes")) or None
    return _page(request, "store", provenance, {"stats": stats, "facts": facts, "levels": levels})
