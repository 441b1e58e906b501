"""A list of the films, and the admin."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from films.views import MovieList

urlpatterns = [
    path("", MovieList.as_view()),
    path("admin/", admin.site.urls),
]
