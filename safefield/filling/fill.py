"""Fill a column: the parts that do it, and in which order they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from safefield.backends.base.catalogue import LiveColumn
from safefield.conf import get_configuration
from safefield.exceptions import BackfillError, BadRow
from safefield.filling.bad_rows import make_bad_rows_error, tell_kept
from safefield.filling.collisions import Collisions
from safefield.filling.expression_values import ExpressionValues
from safefield.filling.filled import FilledKeys
from safefield.filling.function_values import FunctionValues
from safefield.filling.nonvalues import EXPRESSION, NONE
from safefield.filling.problems import find_problems
from safefield.filling.pursuit import MAX_SWEEPS, pursue
from safefield.filling.table_walk import TableWalk, Walked
from safefield.filling.target import Target
from safefield.filling.unfilled import BY_THE_DATABASE
from safefield.filling.verify import tell, verify
from safefield.progress import step
from safefield.reports import NOT_DEPENDED_ON, Finding


class Fill:
    """The fill of one column."""

    def __init__(self, target: Target) -> None:
        plan, schema = target.plan, target.schema
        self.plan = plan
        self.schema = schema
        self.target = target
        #: Keys of the rows that are filled, where others had a value before.
        self.filled = FilledKeys()
        self.collisions: Collisions | None = None
        if plan.deduplicate is not None:
            self.collisions = Collisions(target, self.filled)
        self.source: FunctionValues | ExpressionValues
        if plan.is_expression:
            self.source = ExpressionValues(target, self.filled)
        else:
            self.source = FunctionValues(target, self.filled, self.collisions)
        self.walk = TableWalk(target)

    def fill_and_check(
        self, column: LiveColumn | None, prepare: Callable[[], int | None]
    ) -> int:
        """
        Do what migrate and a rehearsal both do, up to the final definition.

        Args:
            column (LiveColumn | None): What the catalogue says of the column.
            prepare (Callable[[], int | None]): Makes room for the values; returns how
                many rows the table has, if it has counted them.

        Returns:
            int: Rows that were filled.

        Raises:
            BackfillError: Rows cannot be filled, or constraints would refuse them.
        """
        if column is None and (useless := self.source.preflight()):
            raise self._make_useless_error(useless) from self._cause
        if column is not None and column.null:
            self.source.check()
        total = prepare()
        rows = 0
        if column is None or column.null:
            skips = self._skips_locked
            begun = time.monotonic()
            title = f"Filling {self.plan.title}"
            walked = self.walk.run(title, self.source, skips_locked=skips, total=total)
            self._refuse(walked)
            rows = walked.filled
            if skips:
                seconds = time.monotonic() - begun
                rows += pursue(self.plan, self.sweep, walked, seconds)
            elif not self.schema.commits and not self.plan.is_expression:
                rows += self._follow(title, walked)
        with step(f"Checking {self.plan.title}"):
            self._check()
        return rows

    @property
    def _skips_locked(self) -> bool:
        # A batch that waited for the rows of others would keep its own locked
        # meanwhile, so it passes over them, and the sweep comes back for them. An
        # UPDATE by key range cannot.
        return (
            not self.plan.is_expression
            and self.schema.commits
            and self.schema.connection.features.has_select_for_update_skip_locked
        )

    def sweep(self, after: object = None, *, is_whole: bool = True) -> Walked:
        """
        Fill the few rows that have no value yet: passed over, or inserted since.

        Args:
            after (Any): Behind which key to look for them; None for all rows.
            is_whole (bool): Whether all rows are gone through if there are such ones:
                those that a trigger keeps empty are before the key, too.

        Raises:
            BackfillError: Some rows could not be filled. The others are.
        """
        rows = self.target.read_rows()
        if after is not None:
            rows = rows.filter(pk__gt=after)
        if not rows.filter(self.target.wanted).order_by().exists():
            return Walked()
        walked = self.walk.run(
            f"Filling the rest of {self.plan.title}",
            self.source,
            None if is_whole else after,
        )
        self._refuse(walked)
        return walked

    def _follow(self, title: str, walked: Walked) -> int:
        """
        Walk on over rows that populate has inserted itself; return how many it was.

        In one transaction there is no sweep. Others can insert rows only where the
        column was there before, or in a rehearsal, and these are few.
        """
        rows, first = 0, walked.filled
        for _ in range(MAX_SWEEPS):
            if walked.end is None or walked.end == self.walk.find_end():
                return rows
            walked = self.walk.run(title, self.source, walked.end)
            self._refuse(walked)
            rows += walked.filled
        if walked.filled < first:
            return rows
        raise self.plan.error(
            f"{self.plan.title}: rows come in faster than they are filled, from "
            f"{self.plan.source_name} itself or from others. Fix "
            f"{self.plan.source_name}, or stop what inserts them, then run migrate "
            f"again. Nothing was changed."
        )

    def resolve(self) -> None:
        """
        Give rows that collide values of their own, if there is a way to.

        Raises:
            BackfillError: No value was to be had for some rows.
        """
        if self.collisions is not None:
            self.collisions.resolve()

    def _check(self) -> None:
        self.resolve()
        schema = self.schema
        verify(
            self.plan,
            schema,
            self.filled,
            leaves_duplicates=(
                schema.commits and schema.is_unique_first and not self.plan.unique_with
            ),
        )

    # Rows that go wrong

    @property
    def _cause(self) -> Exception | None:
        """What `migrate --traceback` shows above the error."""
        return self.source.first_error if get_configuration().SHOW_VALUES else None

    def _make_useless_error(self, bad_rows: Sequence[BadRow]) -> BackfillError:
        source, rows = self.plan.source_name, len(bad_rows)
        tried = {1: "the row", 2: "both rows"}.get(rows, f"all {rows} rows")
        return make_bad_rows_error(
            self.plan,
            bad_rows,
            f" cannot be filled. {source} failed for {tried} it was tried on",
            f"Nothing was changed. {self._advise(bad_rows)}, then run migrate again.",
        )

    def _refuse(self, walked: Walked) -> None:
        """Tell the rows that could not be filled."""
        if not walked.bad_rows:
            return
        kept = tell_kept(self.schema, "The other rows keep their values.")
        others, advice_on_others = self._find_others()
        # Each piece of advice once: all may be about the same function.
        pieces = dict.fromkeys([self._advise(walked.bad_rows), *advice_on_others])
        advice = ". ".join(pieces)
        raise make_bad_rows_error(
            self.plan,
            walked.bad_rows,
            " could not be filled in some rows",
            f"{kept} {advice}, then run migrate again.",
            others,
        ) from self._cause

    def _find_others(self) -> tuple[list[Finding], list[str]]:
        """
        Return what constraints will say of rows that were filled, and what to do.

        These are empty again, so that they are not in the way of the next run.
        """
        if self.collisions is not None:
            # Rows that collide are not told, but renumbered.
            return [], []
        problems = find_problems(self.schema, self.filled, is_filled=False)
        findings, _, advice = tell(self.plan, self.schema, problems, self.filled)
        return findings, advice

    def _advise(self, bad_rows: Sequence[BadRow]) -> str:
        """Return what to do about the bad rows."""
        if self.collisions is None:
            return advise(self.plan.source_name, bad_rows)
        mark = f"{self.collisions.source} "
        ours = [bad.reason.startswith(mark) for bad in bad_rows]
        advice = self.collisions.advise()
        if all(ours):
            return advice
        first = advise(self.plan.source_name, bad_rows)
        return f"{first}, {advice[0].lower()}{advice[1:]}" if any(ours) else first


def advise(source: str, bad_rows: Sequence[BadRow]) -> str:
    """Return what to do about rows that `source` gave no good value."""
    if all(row.reason.startswith(BY_THE_DATABASE) for row in bad_rows):
        return "Remove the cause"
    if all(row.reason.endswith(EXPRESSION) for row in bad_rows):
        return f"Give the expression itself as populate, in place of {source}"
    if all(row.reason.endswith(NOT_DEPENDED_ON) for row in bad_rows):
        return "Add a migration of that app to the dependencies of this migration"
    # Not where the None is what assigning a value sets besides.
    none = f"{source} gave a bad value: {NONE}"
    if source.endswith("()") and all(row.reason == none for row in bad_rows):
        return f"Fix {source} (is a return missing?)"
    return f"Fix {source}"
