"""Accounts, and logging out on every device."""

from __future__ import annotations

from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from ferrokv.contrib.django.sessions import flush_user_sessions, user_session_keys


@never_cache
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """Where the visitor is logged in, from the index of sessions by user."""
    keys = user_session_keys(request.user)
    devices = [{"number": n, "is_this": key == request.session.session_key} for n, key in enumerate(keys, 1)]
    return render(request, "places/account.html", {"devices": devices, "ended": request.session.pop("ended", None)})


@never_cache
@require_http_methods(["GET", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """Create an account."""
    form = UserCreationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        return redirect("account")
    return render(request, "places/sign_up.html", {"form": form})


@require_POST
@login_required
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """Atomically end all other sessions of the visitor; a request in progress cannot revive one."""
    request.session["ended"] = flush_user_sessions(request.user, keep=request.session.session_key)
    return redirect("account")
