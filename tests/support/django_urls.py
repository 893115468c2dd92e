"""Views for the tests of middleware and sessions."""

from __future__ import annotations

from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.urls import path


def write_much(request: HttpRequest) -> HttpResponse:
    for i in range(10):
        cache.set(f"k{i}", i)
    cache.add("counter", 0)
    cache.incr("counter")
    request.session["seen"] = cache.get("counter")
    return HttpResponse(str(cache.get("k9")))


async def write_much_later(request: HttpRequest) -> HttpResponse:
    for i in range(10):
        await cache.aset(f"k{i}", i)
    await cache.aadd("counter", 0)
    await cache.aincr("counter")
    await request.session.aset("seen", await cache.aget("counter"))
    return HttpResponse(str(await cache.aget("k9")))


def fail(request: HttpRequest) -> HttpResponse:
    cache.set("before", 1)
    raise ZeroDivisionError


def read(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(cache.get_or_set("k", lambda: "computed")) + str(request.session.get("seen")))


urlpatterns: list[Any] = [
    path("much/", write_much),
    path("much-later/", write_much_later),
    path("fail/", fail),
    path("read/", read),
]
