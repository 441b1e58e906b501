from __future__ import annotations

from django.contrib import admin

from films.models import Movie


@admin.register(Movie)
class MovieAdmin(admin.ModelAdmin):
    list_display = ["title", "year", "genres"]
    search_fields = ["title"]
