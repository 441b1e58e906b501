"""Read rows as the user's functions get them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from django.db import models
from django.db.models import Model, QuerySet

from safefield.filling.columns_read import ColumnsRead
from safefield.filling.instances import read_quickly
from safefield.filling.key_pages import Page
from safefield.filling.rows import lock_rows
from safefield.filling.target import Target


class RowReader:
    """Reads the rows of a table for populate, deduplicate or reverse."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.plan = target.plan
        self.schema = target.schema
        #: Historical model whose instances are read.
        self.model = target.plan.model
        fields = self.model._meta.get_fields()
        self.has_relations = any(field.is_relation for field in fields)
        #: The key of a row, to be read before the user's function has the row, which
        #: may change it.
        self.key_of: Callable[[Model], Any] = attrgetter(self.model._meta.pk.attname)

    def rows(self) -> QuerySet[Model]:
        """Return the rows as the user's function gets them."""
        # Not the default manager, nor one named by base_manager_name: both
        # may hide rows.
        queryset = self.target.read_rows()
        if self.plan.select_related:
            queryset = queryset.select_related(*self.plan.select_related)
        if self.plan.prefetch_related:
            queryset = queryset.prefetch_related(*self.plan.prefetch_related)
        if hasattr(models, "FETCH_PEERS") and self.has_relations:  # Django 6.1
            queryset = queryset.fetch_mode(models.FETCH_PEERS)
        if self.target.last_key is not None:
            queryset = queryset.filter(pk__lte=self.target.last_key)
        return read_quickly(queryset)

    def read_page(
        self, page: Page, columns: ColumnsRead, *, skips_locked: bool = False
    ) -> list[Model]:
        """Return the wanted rows of a page, locked until the transaction ends."""
        queryset = page.bound(self.rows())
        if self.target.wanted is not None:
            queryset = queryset.filter(self.target.wanted)
        queryset = self._lock(queryset.order_by("pk"), skips_locked)
        if page.last is None:
            queryset = queryset[: page.size]
        return columns.read(queryset)

    def _lock(self, queryset: QuerySet[Model], skips_locked: bool) -> QuerySet[Model]:
        """Lock the rows of a batch, so that nothing written meanwhile is lost."""
        if not self.schema.commits:
            return queryset
        of: tuple[str, ...] = ()
        parents = tuple(self._parent_links())
        has_of = self.schema.connection.features.has_select_for_update_of
        if has_of and (parents or self.plan.select_related):
            # Not the related rows; and "of" takes no table in another schema.
            of = ("self", *parents)
        return lock_rows(queryset, of=of, skip_locked=skips_locked)

    def _parent_links(self) -> Iterator[str]:
        """Yield the look-ups of the parents in multi-table inheritance."""
        path: list[str] = []
        model: type[Model] | None = self.model
        while model is not None:
            link = next((link for link in model._meta.parents.values() if link), None)
            if link is None:
                return
            path.append(link.name)
            yield "__".join(path)
            model = link.related_model
