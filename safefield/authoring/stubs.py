"""The functions that makemigrations leaves for the developer to write."""

from __future__ import annotations

import keyword
import re
import textwrap
from dataclasses import dataclass
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.serializer import BaseSerializer

#: Columns of a docstring (house style, PEP 8) and of code (black's default).
DOCSTRING_COLUMNS = 79
CODE_COLUMNS = 88

_INDENT = " " * 4
_TIMEZONE_IMPORT = "from django.utils import timezone"

#: Names of fields that make no sentence with "the … of", such as `created`, `sold_at`
#: and `is_free`.
NOT_A_NOUN = re.compile(
    r"\A(is|are|was|has|have|had|can|may|should|must|needs?|allows?|shows?)_"
    r"|ed\Z|_(at|by|for|from|in|of|on|to|until)\Z"
)

# The names that a generated file gives a meaning to.
_TAKEN_ARGUMENTS = {"timezone", "migrations", "models", "settings", "safefield"}


@dataclass(frozen=True)
class Stub:
    """
    A populate function that exists only as text yet.

    It stands in for the function until the migration file is written, where it
    becomes the function's bare name.
    """

    #: As in models.py, such as "Movie".
    model_name: str
    field_name: str
    #: The fields that a row has when the function is called, the primary key first.
    source_fields: tuple[str, ...] = ()
    #: Whether the function is complete and returns timezone.now().
    returns_now: bool = False
    #: Whether it is called only for rows where the field is NULL: it exists already.
    is_null: bool = False
    #: What else its author has to know, in sentences.
    notes: tuple[str, ...] = ()
    #: More than 1 where the name is taken already: 2 gives `populate_movie_slug_2`.
    number: int = 1

    def __call__(self, row: Any) -> Any:
        """Refuse to run: there is only the text of a function here."""
        raise NotImplementedError(self._reminder)

    @property
    def __name__(self) -> str:
        """Return the name of the function."""
        name = f"populate_{_snake(self.model_name)}_{_identifier(self.field_name)}"
        return name if self.number == 1 else f"{name}_{self.number}"

    @property
    def imports(self) -> set[str]:
        """Return the import statements that the function needs."""
        return {_TIMEZONE_IMPORT} if self.returns_now else set()

    @property
    def _argument(self) -> str:
        argument = _snake(self.model_name).strip("_") or "row"
        if keyword.iskeyword(argument) or argument in _TAKEN_ARGUMENTS:
            argument += "_"
        return argument

    @property
    def _reminder(self) -> str:
        return f"Write {self.__name__}() before running migrate."

    def render(self) -> str:
        """Return the source of the function, without a newline at its end."""
        noun = _snake(self.model_name).strip("_").replace("_", " ") or "row"
        condition = " that has none" if self.is_null else ""
        what = f"the {self.field_name} of"
        if NOT_A_NOUN.search(self.field_name):
            what = f"the value of `{self.field_name}` for"
        docstring = [f"Return {what} one existing {noun}{condition}."]
        if self.source_fields:
            names = ", ".join(self.source_fields)
            docstring += ["", f"Fields to build it from: {names}."]
        docstring += self.notes
        lines = _fold(f"def {self.__name__}(", self._argument, "):", comma=",")
        lines += [f'{_INDENT}"""', *_wrap(docstring), f'{_INDENT}"""']
        if self.returns_now:
            lines.append(f"{_INDENT}return timezone.now()")
        else:
            start = f"{_INDENT}raise NotImplementedError("
            lines += _fold(start, f'"{self._reminder}"', ")")
        return "\n".join(lines)


@dataclass(frozen=True)
class ImportedStub(Stub):
    """A populate function that is written in another migration of the app."""

    #: That migration, which gets its name later than the stub is made.
    home: Migration | None = None

    @property
    def imports(self) -> set[str]:
        """Return the import statements that the assignment needs."""
        return {"import importlib"}

    def render(self) -> str:
        """Return the assignment that stands for an import."""
        assert self.home is not None
        # `import` takes no name that starts with a digit. The file goes when it is
        # squashed; each row has its value by then.
        module = f'".{self.home.name}", __package__'
        start = f"{_INDENT}{self.__name__} = importlib.import_module("
        lines = _fold(start, module, f").{self.__name__}")
        comment = f"except ModuleNotFoundError:  # {self.home.name} is squashed."
        if len(comment) > CODE_COLUMNS:
            comment = "except ModuleNotFoundError:  # It is squashed."
        return "\n".join(["try:", *lines, comment, f"{_INDENT}{self.__name__} = None"])


class StubSerializer(BaseSerializer):
    """Writes a Stub into a migration as the bare name of its function."""

    def serialize(self) -> tuple[str, set[str]]:
        """Return the name and the imports of the function."""
        stub: Stub = self.value
        return stub.__name__, stub.imports


def _snake(name: str) -> str:
    """Return `FilmReview` as `film_review` and `HTTPServer` as `http_server`."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return _identifier(name).lower()


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _fold(start: str, middle: str, end: str, *, comma: str = "") -> list[str]:
    """Return one line, or three where that is too long, as black does."""
    if len(start + middle + end) <= CODE_COLUMNS:
        return [start + middle + end]
    indent = start[: len(start) - len(start.lstrip())]
    return [start, f"{indent}{_INDENT}{middle}{comma}", f"{indent}{end}"]


def _wrap(paragraphs: list[str]) -> list[str]:
    """Return the lines of a docstring, indented; "" stays an empty line."""
    return [
        line
        for paragraph in paragraphs
        for line in textwrap.wrap(
            paragraph,
            width=DOCSTRING_COLUMNS,
            initial_indent=_INDENT,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        or [""]
    ]
