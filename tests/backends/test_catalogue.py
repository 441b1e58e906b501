from __future__ import annotations

import pytest
from django.db import connections, models
from django.db.migrations import AddField
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Q
from django.db.models.functions import Lower

from tests.support.catalogue import describe_table, list_tables

DIRECTOR = ("Director", {"id": models.BigAutoField(primary_key=True)}, {})


def create_movie(connection, fields=(), options=()):
    """Create a table with the usual fields, some of them replaced; return its state."""
    fields = {
        "id": models.BigAutoField(primary_key=True),
        "slug": models.SlugField(max_length=80, unique=True),
        "year": models.PositiveIntegerField(null=True),
        "director": models.ForeignKey("films.Director", models.CASCADE),
        **dict(fields),
    }
    state = ProjectState()
    for name, of_model, its_options in (DIRECTOR, ("Movie", fields, dict(options))):
        state.add_model(ModelState("films", name, list(of_model.items()), its_options))
    with connection.schema_editor() as editor:
        for name in ("Director", "Movie"):
            editor.create_model(state.apps.get_model("films", name))
    return state


def drop_tables(connection):
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE films_movie")
        cursor.execute("DROP TABLE films_director")


def execute(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


class TestListTables:
    def test_lists_tables_only(self, alias):
        create_movie(connections[alias])
        execute(connections[alias], "CREATE VIEW movies AS SELECT * FROM films_movie")

        assert list_tables(connections[alias]) == ["films_director", "films_movie"]


class TestDescribeTable:
    def test_sqlite(self, sqlite_alias):
        create_movie(connections[sqlite_alias])

        column = {
            "default": None,
            "auto_increment": False,
            "generated": None,
            "collation": None,
        }
        key = {"orders": ["ASC"], "collations": ["BINARY"]}
        assert describe_table(connections[sqlite_alias], "films_movie") == {
            "columns": {
                "id": {
                    **column,
                    "type": "integer",
                    "null": False,
                    "auto_increment": True,
                },
                "slug": {**column, "type": "varchar(80)", "null": False},
                "year": {**column, "type": "integer unsigned", "null": True},
                "director_id": {**column, "type": "bigint", "null": False},
            },
            "primary_key": ["id"],
            "uniques": [{**key, "columns": ["slug"], "unique": True}],
            "indexes": [
                {
                    **key,
                    "columns": ["director_id"],
                    "unique": False,
                    "expressions": None,
                    "condition": None,
                }
            ],
            "foreign_keys": [
                {
                    "columns": ["director_id"],
                    "target": "films_director",
                    "target_columns": ["id"],
                    "on_delete": "NO ACTION",
                    "on_update": "NO ACTION",
                    "deferred": True,
                }
            ],
            "checks": [{"definition": '( "year" >= 0 )'}],
            "triggers": [],
        }

    def test_postgresql(self, postgresql_alias):
        create_movie(connections[postgresql_alias])

        column = {
            "default": None,
            "identity": None,
            "generated": None,
            "collation": None,
            "comment": None,
        }
        index = {
            "method": "btree",
            "orders": ["ASC NULLS LAST"],
            "include": [],
            "condition": None,
            "unique": False,
            "valid": True,
            "nulls_equal": False,
        }
        assert describe_table(connections[postgresql_alias], "films_movie") == {
            "comment": None,
            "columns": {
                "id": {
                    **column,
                    "type": "bigint",
                    "null": False,
                    "identity": "BY DEFAULT",
                },
                "slug": {**column, "type": "character varying(80)", "null": False},
                "year": {**column, "type": "integer", "null": True},
                "director_id": {**column, "type": "bigint", "null": False},
            },
            "primary_key": ["id"],
            "uniques": [
                {
                    **index,
                    "columns": ["slug"],
                    "operator_classes": ["text_ops"],
                    "collations": ["default"],
                    "unique": True,
                    "deferrable": False,
                    "deferred": False,
                }
            ],
            "exclusions": [],
            "indexes": [
                {
                    **index,
                    "columns": ["director_id"],
                    "operator_classes": ["int8_ops"],
                    "collations": [None],
                },
                {
                    **index,
                    "columns": ["slug"],
                    "operator_classes": ["varchar_pattern_ops"],
                    "collations": ["default"],
                },
            ],
            "foreign_keys": [
                {
                    "columns": ["director_id"],
                    "target": "films_director",
                    "target_columns": ["id"],
                    "on_delete": "NO ACTION",
                    "on_update": "NO ACTION",
                    "deferrable": True,
                    "deferred": True,
                    "validated": True,
                }
            ],
            "checks": [{"definition": "CHECK (year >= 0)", "validated": True}],
            "triggers": [],
        }

    def test_mariadb(self, mysql_alias):
        connection = connections[mysql_alias]
        if not connection.mysql_is_mariadb:
            pytest.skip("MySQL spells its integer types and its checks differently.")
        execute(connection, "ALTER DATABASE COLLATE utf8mb4_general_ci")
        create_movie(connection)

        column = {
            "default": None,
            "generated": None,
            "collation": None,
            "comment": None,
            "auto_increment": False,
            "extra": None,
        }
        index = {
            "orders": ["ASC"],
            "prefixes": [None],
            "method": "BTREE",
            "comment": None,
        }
        assert describe_table(connection, "films_movie") == {
            "comment": None,
            "engine": "InnoDB",
            "collation": "utf8mb4_general_ci",
            "columns": {
                "id": {
                    **column,
                    "type": "bigint(20)",
                    "null": False,
                    "auto_increment": True,
                },
                "slug": {
                    **column,
                    "type": "varchar(80)",
                    "null": False,
                    "collation": "utf8mb4_general_ci",
                },
                "year": {
                    **column,
                    "type": "int(10) unsigned",
                    "null": True,
                    "default": "NULL",
                },
                "director_id": {**column, "type": "bigint(20)", "null": False},
            },
            "primary_key": ["id"],
            "uniques": [{**index, "columns": ["slug"], "unique": True}],
            "indexes": [{**index, "columns": ["director_id"], "unique": False}],
            "foreign_keys": [
                {
                    "columns": ["director_id"],
                    "target": "films_director",
                    "target_columns": ["id"],
                    "on_delete": "RESTRICT",
                    "on_update": "RESTRICT",
                }
            ],
            "checks": [{"definition": "`year` >= 0", "level": "column"}],
            "triggers": [],
        }

    def test_keeps_the_order_of_the_columns(self, alias):
        create_movie(connections[alias])

        columns = describe_table(connections[alias], "films_movie")["columns"]

        assert list(columns) == ["id", "slug", "year", "director_id"]

    def test_names_of_constraints_and_indexes_do_not_count(self, alias):
        descriptions = []
        for suffix in ("a", "b"):
            options = {
                "indexes": [models.Index(fields=["-year"], name=f"i_{suffix}")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["year", "director"], name=f"u_{suffix}"
                    ),
                    models.CheckConstraint(
                        condition=Q(year__gte=1888), name=f"c_{suffix}"
                    ),
                ],
            }
            create_movie(connections[alias], options=options)
            descriptions.append(describe_table(connections[alias], "films_movie"))
            drop_tables(connections[alias])

        assert descriptions[0] == descriptions[1]

    @pytest.mark.parametrize(
        ("part", "fields", "options"),
        [
            ("columns", {"slug": models.SlugField(max_length=81, unique=True)}, {}),
            ("columns", {"year": models.PositiveIntegerField()}, {}),
            ("columns", {"year": models.BigIntegerField(null=True)}, {}),
            (
                "columns",
                {"year": models.PositiveIntegerField(null=True, db_default=1)},
                {},
            ),
            ("columns", {"rating": models.FloatField()}, {}),
            ("primary_key", {"id": models.BigIntegerField(), "key": None}, {}),
            ("uniques", {"slug": models.SlugField(max_length=80)}, {}),
            (
                "uniques",
                {},
                {
                    "constraints": [
                        models.UniqueConstraint(fields=["year", "slug"], name="u")
                    ]
                },
            ),
            (
                "indexes",
                {"year": models.PositiveIntegerField(null=True, db_index=True)},
                {},
            ),
            (
                "indexes",
                {},
                {"indexes": [models.Index(fields=["-year", "slug"], name="i")]},
            ),
            ("foreign_keys", {"director": models.BigIntegerField(db_index=True)}, {}),
            ("foreign_keys", {"year": models.ForeignKey("self", models.CASCADE)}, {}),
            ("checks", {"year": models.IntegerField(null=True)}, {}),
            (
                "checks",
                {},
                {
                    "constraints": [
                        models.CheckConstraint(condition=Q(year__gte=1888), name="c")
                    ]
                },
            ),
        ],
    )
    def test_differs_in(self, alias, part, fields, options):
        fields = dict(fields)
        if "key" in fields:
            fields["key"] = models.BigAutoField(primary_key=True)
        create_movie(connections[alias])
        expected = describe_table(connections[alias], "films_movie")
        drop_tables(connections[alias])
        create_movie(connections[alias], fields, options)

        found = describe_table(connections[alias], "films_movie")

        assert found[part] != expected[part]

    @pytest.mark.parametrize(
        ("alias", "part", "sql"),
        [
            ("postgresql", "comment", "COMMENT ON TABLE films_movie IS 'x'"),
            ("postgresql", "columns", "COMMENT ON COLUMN films_movie.slug IS 'x'"),
            (
                "postgresql",
                "columns",
                'ALTER TABLE films_movie ALTER slug TYPE varchar(80) COLLATE "C"',
            ),
            (
                "postgresql",
                "indexes",
                "UPDATE pg_index SET indisvalid = false "
                "WHERE indexrelid = 'films_movie_director_id_index'::regclass",
            ),
            (
                "postgresql",
                "indexes",
                "CREATE INDEX ON films_movie (year) WHERE year > 2000",
            ),
            ("postgresql", "indexes", "CREATE INDEX ON films_movie (lower(slug))"),
            ("postgresql", "indexes", "CREATE INDEX ON films_movie USING hash (slug)"),
            (
                "postgresql",
                "foreign_keys",
                "ALTER TABLE films_movie ADD FOREIGN KEY (year) "
                "REFERENCES films_director NOT VALID",
            ),
            (
                "postgresql",
                "checks",
                "ALTER TABLE films_movie ADD CHECK (slug IS NOT NULL) NOT VALID",
            ),
            (
                "postgresql",
                "triggers",
                "CREATE TRIGGER t BEFORE UPDATE ON films_movie FOR EACH ROW "
                "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            ),
            ("mariadb", "comment", "ALTER TABLE films_movie COMMENT 'x'"),
            (
                "mariadb",
                "columns",
                "ALTER TABLE films_movie MODIFY year int unsigned NULL COMMENT 'x'",
            ),
            (
                "mariadb",
                "columns",
                "ALTER TABLE films_movie "
                "MODIFY slug varchar(80) COLLATE utf8mb4_bin NOT NULL",
            ),
            ("mariadb", "indexes", "CREATE INDEX i ON films_movie (slug(10))"),
            (
                "mariadb",
                "triggers",
                "CREATE TRIGGER t BEFORE UPDATE ON films_movie FOR EACH ROW "
                "SET NEW.year = 2000",
            ),
            ("default", "indexes", "CREATE INDEX i ON films_movie (lower(slug))"),
            (
                "default",
                "indexes",
                "CREATE INDEX i ON films_movie (year) WHERE year > 2000",
            ),
            (
                "default",
                "columns",
                "ALTER TABLE films_movie ADD note text COLLATE nocase",
            ),
            (
                "default",
                "foreign_keys",
                "ALTER TABLE films_movie ADD sequel bigint REFERENCES films_movie (id)",
            ),
            (
                "default",
                "triggers",
                "CREATE TRIGGER t AFTER UPDATE ON films_movie "
                "BEGIN DELETE FROM films_director; END",
            ),
        ],
        indirect=["alias"],
    )
    def test_notices_in_one_database(self, alias, part, sql):
        connection = connections[alias]
        create_movie(connection)
        if connection.vendor == "postgresql":
            # A name of ours for the index that a statement above refers to.
            execute(
                connection,
                "DO $$ BEGIN EXECUTE format('ALTER INDEX %I RENAME TO "
                "films_movie_director_id_index', (SELECT indexname FROM pg_indexes "
                "WHERE indexname LIKE 'films_movie_director_id%')); END $$",
            )
        expected = describe_table(connection, "films_movie")
        execute(connection, sql)

        found = describe_table(connection, "films_movie")

        assert found[part] != expected[part]

    def test_is_the_same_after_a_column_came_and_went(self, alias):
        """SQLite remakes the table for it and writes its SQL anew."""
        connection = connections[alias]
        options = {
            "indexes": [models.Index(fields=["-year"], name="i1")],
            "constraints": [
                models.CheckConstraint(condition=Q(year__gte=1888), name="c"),
                models.UniqueConstraint(fields=["year", "slug"], name="u"),
            ],
        }
        if connection.features.supports_expression_indexes:
            options["indexes"] += [
                models.Index(Lower("slug").desc(), name="i2"),
                models.Index(fields=["year"], condition=Q(year__gt=2000), name="i3"),
            ]
        state = create_movie(connection, options=options)
        before = describe_table(connection, "films_movie")
        added = state.clone()
        operation = AddField("movie", "other", models.SlugField(default="x"))
        operation.state_forwards("films", added)

        with connection.schema_editor() as editor:
            operation.database_forwards("films", editor, state, added)
        between = describe_table(connection, "films_movie")
        with connection.schema_editor() as editor:
            operation.database_backwards("films", editor, added, state)

        assert between != before
        assert describe_table(connection, "films_movie") == before

    def test_refuses_an_unknown_table(self, sqlite_alias):
        create_movie(connections[sqlite_alias])

        with pytest.raises(LookupError) as caught:
            describe_table(connections[sqlite_alias], "films_film")

        assert str(caught.value) == (
            "There is no table 'films_film', only ['films_director', 'films_movie']."
        )
