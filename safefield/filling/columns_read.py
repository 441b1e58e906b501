"""Which columns a function reads of a row, so that no others have to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, QuerySet, prefetch_related_objects
from django.db.models.fields.files import FileDescriptor, ImageFileDescriptor
from django.db.models.fields.related_descriptors import ForeignKeyDeferredAttribute

from safefield.fields import AnyField
from safefield.filling.instances import (
    find_keys,
    get_attribute_types,
    get_values,
    is_plain,
    is_watchable,
    is_wide,
    make_instance,
)
from safefield.plan import Plan
from safefield.progress import statement

#: Under which name the _state of a row that is watched has the key of the row, which
#: the function may change.
KEY = "_safefield_key"

#: Attributes that look into the __dict__ of a row, and for their own column alone.
LOOKING_ATTRIBUTES = (ForeignKeyDeferredAttribute, FileDescriptor, ImageFileDescriptor)


class ColumnsRead:
    """
    Read the columns that a function looks at, and the keys, and no others.

    Steps:
        1. The rows of the first batch have all their columns, and it is noted at
           which of them the function looks.
        2. From then on rows have these columns, and their keys.
        3. If the function looks at another one all the same, that is loaded for this
           row, and the batch ends with it. The rows of the next batch have it.

    Who looks at a row as a whole, as vars(row), row.save() and copy.copy(row) do,
    finds all its columns, and from the next batch on all rows have them. So have the
    rows of a class that does more with a row than Django's, and those of a table with
    a few small columns, where it takes longer to watch them than to read all.

    Args:
        plan (Plan): Its model is the one whose instances are read.
        reads_all (bool): Whether rows have all their columns in any case.
    """

    def __init__(self, plan: Plan, *, reads_all: bool) -> None:
        self.plan = plan
        #: Whether a column is wanted that the rows at hand have not.
        self.has_news = False
        self._is_learning = True
        #: What was said last of the columns that are read.
        self._said: Sequence[str] = ()
        #: The models of the rows and of what is joined, by look-up.
        self._models: dict[str, type[Model]] = {"": plan.model}
        self._watches: dict[type[Model], _Watch] = {}
        if reads_all or not is_watchable(plan.model):
            return
        for name in plan.select_related:
            self._follow(name)
        if not any(map(is_wide, self._models.values())):
            return
        for each in filter(is_watchable, self._models.values()):
            self._watches[each] = _Watch(each, self._note_news)

    def _follow(self, name: str) -> None:
        """Take note of the models that are joined by one name of select_related."""
        path, model = "", self._models[""]
        for part in name.split("__"):
            try:
                field: AnyField = model._meta.get_field(part)
            except FieldDoesNotExist:
                # Which is for the query to say.
                return
            if not (field.concrete and field.is_relation):
                # The key is in the other table, of which all columns are read.
                return
            path = f"{path}__{part}" if path else part
            model = self._models[path] = field.related_model

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Note in the block at what of the rows a function looks."""
        with ExitStack() as stack:
            for watch in self._watches.values():
                stack.enter_context(watch.open())
            yield

    def read(self, queryset: QuerySet[Model]) -> list[Model]:
        """Return the rows of `queryset`."""
        if not self._watches:
            return list(queryset)
        if not self._is_learning:
            queryset = self._narrow(queryset)
        # What is prefetched is found by columns too, which is to be noted.
        rows = self._make_rows(queryset.prefetch_related(None))
        if rows:
            prefetch_related_objects(rows, *self.plan.prefetch_related)
        return rows

    def until_news(self, rows: Iterator[Model]) -> Iterator[Model]:
        """Yield `rows`, up to one for which a column is wanted that they have not."""
        self.has_news = False
        for row in rows:
            yield row
            if self.has_news:
                break
        self._is_learning = False

    def _note_news(self) -> None:
        self.has_news = not self._is_learning

    def _narrow(self, queryset: QuerySet[Model]) -> QuerySet[Model]:
        names: list[str] = []
        is_narrow = False
        for path, model in self._models.items():
            fields: Sequence[AnyField] = model._meta.concrete_fields
            watch = self._watches.get(model)
            if watch is not None:
                watch.take_news()
                fields = [field for field in fields if field.attname in watch.wanted]
            is_narrow = is_narrow or len(fields) < len(model._meta.concrete_fields)
            prefix = f"{path}__" if path else ""
            names += [prefix + field.name for field in fields]
        if names != self._said:
            self._said = names
            statement(f"Of each row is read: {', '.join(names)}")
        return queryset.only(*names) if is_narrow else queryset

    def _make_rows(self, queryset: QuerySet[Model]) -> list[Model]:
        """Return the rows of `queryset`, marked, with what is joined to them."""
        if len(self._models) == 1:
            rows = list(queryset)
            self._watches[queryset.model].mark(rows)
            return rows
        with ExitStack() as stack:
            for watch in self._watches.values():
                stack.enter_context(watch.make_rows())
            return list(queryset)


@contextmanager
def _set_on_class(model: type[Model], name: str, value: Any) -> Iterator[None]:
    # Of the class: the type of a row, and what it keeps, stay the same.
    type.__setattr__(model, name, value)
    try:
        yield
    finally:
        type.__delattr__(model, name)


class _Watch:
    """
    Notes which columns somebody wants of the rows of a class.

    A row is asked for its columns by their names, or for its __dict__. Those that are
    not there yet are loaded before it answers.
    """

    def __init__(self, model: type[Model], note_news: Callable[[], None]) -> None:
        self.model = model
        #: Called when a column is wanted that rows have not.
        self.note_news = note_news
        self.columns = [field.attname for field in model._meta.concrete_fields]
        self.keys = [field.attname for field in model._meta.pk_fields]
        #: Columns that are wanted: the next rows have them.
        self.wanted = find_keys(model)
        kinds = dict(zip(self.columns, get_attribute_types(model), strict=True))
        #: Columns whose attribute looks for them in the __dict__ of a row at each look.
        self._looking = {n for n, kind in kinds.items() if kind in LOOKING_ATTRIBUTES}
        #: Those of them whose attribute makes another value of what it finds.
        self._files = {n for n in self._looking if issubclass(kinds[n], FileDescriptor)}
        self._makes_file = False
        #: Names that a row may be asked for in vain, and these.
        self._watched = {"__dict__", *self.columns} - self.wanted | self._looking
        self._is_plain = is_plain(model)
        #: Whether rows are read with all columns.
        self._has_all = False

    def open(self) -> AbstractContextManager[None]:
        """Watch in the block the rows that are marked."""
        watched, answer, get = self._watched, self._answer, object.__getattribute__

        def __getattribute__(row: Any, name: str) -> Any:
            return answer(row, name) if name in watched else get(row, name)

        return _set_on_class(self.model, "__getattribute__", __getattribute__)

    def make_rows(self) -> AbstractContextManager[None]:
        """Mark the rows that Django makes in the block."""

        def from_db(cls: Any, *args: Any, **options: Any) -> Any:
            if cls is self.model:
                return self._make_row(*args, **options)
            return Model.from_db.__func__(cls, *args, **options)  # type: ignore[attr-defined] # a classmethod

        return _set_on_class(self.model, "from_db", classmethod(from_db))

    def mark(self, rows: Iterable[Model]) -> None:
        """Watch `rows` while open() does."""
        if self._has_all:
            return
        key, *others = self.keys
        # Not by get_values(), which would make a dictionary for each row.
        get = object.__getattribute__
        for row in rows:
            found = get(row, key)
            if others:
                found = (found, *(get(row, name) for name in others))
            get(row, "_state")._safefield_key = found

    def take_news(self) -> None:
        """Take note that rows are read with all columns that are wanted."""
        self._watched -= self.wanted - self._looking
        self._has_all = len(self.wanted) == len(self.columns)

    def _make_row(
        self, alias: str, names: Sequence[str], values: Sequence[Any], **options: Any
    ) -> Model:
        if self._is_plain:
            fetch_mode = options.get("fetch_mode")  # Django 6.1
            has_setters = not self._looking.isdisjoint(names)
            row, _ = make_instance(
                self.model, alias, fetch_mode, names, values, has_setters
            )
        else:
            row = Model.from_db.__func__(self.model, alias, names, values, **options)  # type: ignore[attr-defined] # a classmethod
        self.mark([row])
        return row

    def _answer(self, row: Model, name: str) -> Any:
        """Return the attribute `name` of a row, which has its columns then."""
        if name in self._files:
            self._makes_file = True
            try:
                return object.__getattribute__(row, name)
            finally:
                self._makes_file = False
        values = get_values(row)
        state = values.get("_state")
        # Rows that the function itself has read are as it wants them.
        if state is None or KEY not in vars(state):
            return object.__getattribute__(row, name)
        if name != "__dict__":
            self._want(values, [name])
            return values[name]
        if self._makes_file:
            return values
        self._want(values, self.columns)
        # In the order in which Django sets them.
        ordered = {key: values[key] for key in ("_state", *self.columns)} | values
        values.clear()
        values.update(ordered)
        return values

    def _want(self, values: dict[str, Any], names: Sequence[str]) -> None:
        is_new = not self.wanted.issuperset(names)
        self.wanted.update(names)
        self._load(values, names)
        if is_new:
            self.note_news()

    def _load(self, values: dict[str, Any], names: Sequence[str]) -> None:
        """Load those columns of a row that it has not."""
        missing = [name for name in names if name not in values]
        if missing:
            state = values["_state"]
            rows: QuerySet[Any, Any] = QuerySet(self.model, using=state.db)
            found = rows.values_list(*missing).get(pk=getattr(state, KEY))
            values.update(zip(missing, found, strict=True))
