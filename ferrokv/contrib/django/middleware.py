"""`PipelinedMiddleware`: one sync makes all writes of a request durable before its response.

Put it before `SessionMiddleware` in MIDDLEWARE, so that it covers saving the session. It does not
cover what a streaming response writes while it is being sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .pipelining import Pipelined


class PipelinedMiddleware:
    """Runs each request inside `pipelined()`, on the event loop or in a thread like the rest.

    If the store fails, the response becomes an error (Django's 500), since it might rely on data
    that was not stored; unless only caches with IGNORE_EXCEPTIONS were affected.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._later(request)
        with Pipelined():
            return cast("HttpResponseBase", self._get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        async with Pipelined():
            return cast("HttpResponseBase", await self._get_response(request))
