"""One pass over a table: page by page, by key, each page a short transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from django.db import DatabaseError, Error, models, transaction
from django.db.models import NOT_PROVIDED, Model, QuerySet

from safefield.backends import get_backend
from safefield.backends.base.schema import Schema
from safefield.conf import get_configuration
from safefield.exceptions import BadRow, SafefieldError
from safefield.filling.batches import (
    BATCH_SECONDS,
    MAX_ROWS,
    UNLOCKED_SECONDS,
    BatchSize,
)
from safefield.filling.instances import has_relations, read_quickly
from safefield.filling.pages import Page, find_page
from safefield.plan import Plan
from safefield.progress import track
from safefield.reports import (
    MAX_BAD_ROWS,
    Finding,
    group_rows,
    make_bad_row,
    make_error,
)

Result = TypeVar("Result")

#: Rows in a batch before a BatchSize has measured one.
UNMEASURED_ROWS = 5


class Pass:
    """
    One pass over the rows of a table, page by page, by primary key.

    Args:
        plan (Plan): What the operation asks for.
        schema (Schema): The column on its database.
        model (type[Model]): Historical model whose instances are read.
    """

    #: Rows in a batch at the most.
    max_rows = MAX_ROWS

    def __init__(self, plan: Plan, schema: Schema, model: type[Model]) -> None:
        self.plan = plan
        self.schema = schema
        self.connection = schema.connection
        self.alias = schema.connection.alias
        self.model = model
        self.has_relations = has_relations(model)
        self.writer_class = get_backend(schema.connection).writer
        self.bad_rows: list[BadRow] = []
        #: Says how many rows the table has, about.
        self.estimate_rows: Callable[[], int | None] = schema.catalogue.estimate_rows
        #: Rows that went through handle(), also those that turned out bad.
        self.handled_rows = 0
        #: Whether rows that others have locked are left for a later pass.
        self.skips_locked = False
        self.size = BatchSize(UNMEASURED_ROWS)
        #: The key of a row, to be read before the user's function has the row, which
        #: may change it.
        self.key_of: Callable[[Model], Any] = attrgetter(model._meta.pk.attname)
        #: Key of the last row of a batch.
        self.last_key: Any = None
        #: The greatest key that was there when the last pass began, where others may
        #: insert meanwhile.
        self.end: Any = None

    # What a pass does with its rows

    def wanted(self) -> Any:
        """Return the condition on the rows of this pass; None for all rows."""
        raise NotImplementedError

    def handle(self, rows: Sequence[Model], *, savepoints: bool) -> None:
        """Compute and write one batch; note the key of its last row as last_key."""
        raise NotImplementedError

    # Paging

    def all_rows(self) -> QuerySet[Model]:
        """Return the rows that are cut into pages."""
        # Not the default manager, nor one named by base_manager_name: both
        # may hide rows.
        return QuerySet(self.model, using=self.alias)

    def rows(self) -> QuerySet[Model]:
        """Return the rows as populate gets them."""
        queryset: QuerySet[Model] = QuerySet(self.model, using=self.alias)
        if self.plan.select_related:
            queryset = queryset.select_related(*self.plan.select_related)
        if self.plan.prefetch_related:
            queryset = queryset.prefetch_related(*self.plan.prefetch_related)
        if hasattr(models, "FETCH_PEERS") and self.has_relations:  # Django 6.1
            queryset = queryset.fetch_mode(models.FETCH_PEERS)
        return read_quickly(queryset)

    def read(self, page: Page, queryset: QuerySet[Model]) -> Sequence[Model]:
        """Return the rows of a batch, which are those of `page` or some of them."""
        return list(queryset)

    def run_pages(self, title: str, after: Any = None) -> None:
        """
        Handle the rows of this pass, those that are there when it begins.

        Args:
            title (str): What is being done.
            after (Any): The key behind which they are; None for all rows.
        """
        size = self.size = BatchSize(
            self.plan.batch_size,
            max_rows=self.max_rows,
            target_seconds=(BATCH_SECONDS if self.schema.commits else UNLOCKED_SECONDS),
        )
        if self.schema.commits:
            self.end = self.patiently(self._find_end)
            if self.end is None:
                return
        with track(title, self.estimate_rows) as progress:
            while len(self.bad_rows) < MAX_BAD_ROWS:
                page = self._find_page(after, size.rows)
                size.start()
                rows, after, is_last = self._run_page(page)
                if is_last:
                    progress.update(rows)
                    return
                progress.update(rows)
                self._pause(size.record(rows))

    def _find_end(self) -> Any:
        """Return the greatest key; None if there are no rows."""
        keys = self.all_rows().order_by("-pk").values_list("pk", flat=True)
        return next(iter(keys[:1]), None)

    def _pause(self, seconds: float) -> None:
        """Sleep after a batch that took `seconds`, as the settings say."""
        pause = seconds * get_configuration().PAUSE_RATIO
        if pause and self.schema.commits:
            self.schema.locks.sleep(pause)

    def _find_page(self, after: Any, size: int) -> Page:
        # Outside the transaction of the batch, which keeps its locks shorter.
        return self.patiently(lambda: find_page(self.all_rows(), after, size, self.end))

    def _run_page(self, page: Page) -> tuple[int, Any, bool]:
        """Handle one page; return its rows, its last key and whether it ends."""
        return self.patiently(lambda: self._run_page_once(page))

    def patiently(self, function: Callable[[], Result]) -> Result:
        """Call `function`, again if others hold locks, where each batch commits."""
        if not self.schema.commits:
            return function()
        return self.schema.locks.change_rows(function)

    def _run_page_once(self, page: Page) -> tuple[int, Any, bool]:
        bad_before = len(self.bad_rows)
        try:
            return self._try_page(page, savepoints=False)
        except (MemoryError, SafefieldError):
            raise
        except Exception as exc:
            self.schema.locks.session.raise_interrupt(exc)
            del self.bad_rows[bad_before:]
            is_passing = isinstance(exc, DatabaseError) and (
                self.schema.locks.is_passing(exc)
            )
            if isinstance(exc, Error) and (
                not isinstance(exc, DatabaseError) or self.schema.locks.name_limit(exc)
            ):
                # Not about a row: the connection, or a timeout of the server's.
                raise
            # With needs_rollback the whole transaction is lost, as to a full disk.
            if is_passing or self.connection.needs_rollback:
                raise
        # populate() broke the transaction of the batch, or the database or its driver
        # refused a value. Row by row it is known which one.
        return self._try_page(page, savepoints=True)

    def _try_page(self, page: Page, *, savepoints: bool) -> tuple[int, Any, bool]:
        with transaction.atomic(using=self.alias):
            if self.schema.commits and not self.skips_locked:
                self.schema.locks.limit_wait()
            self.check_keys(row_by_row=savepoints)
            queryset = page.bound(self.rows())
            if (wanted := self.wanted()) is not None:
                queryset = queryset.filter(wanted)
            queryset = self._lock(queryset.order_by("pk"))
            if page.last is None:
                queryset = queryset[: page.size]
            rows = self.read(page, queryset)
            if rows:
                self.handle(rows, savepoints=savepoints)
                self.schema.settle()
        taken = self.size.taken if rows else 0
        self.handled_rows += taken
        if taken < len(rows):
            return taken, self.last_key, False
        if page.last is not None:
            return page.size, page.last, False
        last = self.last_key if rows else page.after
        return len(rows), last, len(rows) < page.size

    def check_keys(self, *, row_by_row: bool = False) -> None:
        """
        Let the database refuse a key where it is written, if it checks them.

        Else it does so at the commit, and nobody knows of which row. A batch of a
        column without a foreign key is told so the second time, row by row: it may
        write other columns, and populate other tables.
        """
        old = self.plan.old_field
        is_key = self.schema.commits and old is not None and old.is_relation
        if row_by_row or is_key:
            self.schema.locks.check_keys_at_once()

    def _lock(self, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Lock the rows of a batch, so that nothing written meanwhile is lost."""
        features = self.connection.features
        if not (self.schema.commits and features.has_select_for_update):
            return queryset
        options: dict[str, Any] = {}
        parents = tuple(self._parent_links())
        if features.has_select_for_update_of and (parents or self.plan.select_related):
            # Not the related rows; and "of" takes no table in another schema.
            options["of"] = ("self", *parents)
        if features.has_select_for_no_key_update:
            options["no_key"] = True
        if self.skips_locked:
            options["skip_locked"] = True
        return queryset.select_for_update(**options)

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

    # Rows that go wrong

    def guard(
        self, function: Callable[[Any], Any], savepoints: bool
    ) -> Callable[[Any], Any]:
        """Return `function`, each call in a savepoint of its own if asked for."""
        if not savepoints:
            return function

        def call(row: Any) -> Any:
            with transaction.atomic(using=self.alias):
                return function(row)

        return call

    def note_bad(
        self, pk: Any, source: str, exc: Exception, value: Any = NOT_PROVIDED
    ) -> None:
        """
        Take note that a row has no good value.

        Args:
            pk (Any): Primary key of the row.
            source (str): What the value comes from.
            exc (Exception): What was raised.
            value (Any): The value that was refused, if it came to one.

        Raises:
            Exception: `exc` is not about the row: the connection is lost, or there
                is no memory.
        """
        if isinstance(exc, MemoryError):
            raise exc
        if isinstance(exc, Error) and self.schema.locks.session.is_lost():
            raise exc
        self.bad_rows.append(make_bad_row(pk, source, exc, value))

    def raise_bad(self, head: str, advice: str, others: Sequence[Finding] = ()) -> None:
        """
        Raise one error for all rows that went wrong, if there are any.

        Args:
            head (str): What could not be done, a clause behind the field's
                name.
            advice (str): What became of the other rows, and what to do next.
            others (Sequence[Finding]): What else was found.
        """
        if not self.bad_rows:
            return
        if len(self.bad_rows) >= MAX_BAD_ROWS:
            head += f". After {MAX_BAD_ROWS:,} bad rows no more were tried"
        bad_rows = self.bad_rows[:MAX_BAD_ROWS]
        findings = [*group_rows(bad_rows), *others]
        raise make_error(self.plan, head, findings, advice, bad_rows)
