"""`PipelinedMiddleware`: a response leaves when all that its request wrote is durable, at the price of one sync.

It stands before `SessionMiddleware` in MIDDLEWARE, so that the session's save is part of it. What a streaming response writes while
it is sent is not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .pipelining import Pipelined


class PipelinedMiddleware:
    """Runs each request inside `pipelined()`, on the event loop or in a thread, as the rest of the stack does.

    A store that fails makes the response an error (Django's 500), since it would tell of what is not stored; unless all that failed
    was a cache with IGNORE_EXCEPTIONS.
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
