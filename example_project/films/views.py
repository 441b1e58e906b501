from __future__ import annotations

from django.db.models import Q
from django.views.generic import ListView

from films.models import Movie


class MovieList(ListView):
    queryset = Movie.objects.order_by("-year", "title", "pk")
    paginate_by = 50
    search_fields = ["title"]

    def get_queryset(self):
        """Return the films of which each word is in one of the fields."""
        films = super().get_queryset()
        for word in self.request.GET.get("q", "").split():
            found = Q()
            for name in self.search_fields:
                found |= Q(**{f"{name}__icontains": word})
            films = films.filter(found)
        return films
