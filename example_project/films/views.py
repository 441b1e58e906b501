from __future__ import annotations

from django.views.generic import ListView

from films.models import Movie


class MovieList(ListView):
    queryset = Movie.objects.order_by("-year", "title")
    paginate_by = 50
