from __future__ import annotations

from django.db import models


class Movie(models.Model):
    title = models.CharField(max_length=400)
    year = models.PositiveSmallIntegerField()
    genres = models.CharField(max_length=100, blank=True)

    def __str__(self):
        return f"{self.title} ({self.year})"
