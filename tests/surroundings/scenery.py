"""What other people may have made on a table and beside it, on each database."""

from __future__ import annotations

from django.db import migrations, models

from tests.support.history import History

STUDIO = migrations.CreateModel(
    "Studio", [("id", models.BigAutoField(primary_key=True))]
)
MOVIE = migrations.CreateModel(
    "Movie",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("title", models.CharField(max_length=100)),
        ("year", models.IntegerField(db_index=True)),
        ("note", models.TextField(default="")),
        ("code", models.CharField(max_length=60, null=True)),
        ("first", models.ForeignKey("films.Studio", models.CASCADE, related_name="+")),
    ],
    options={"unique_together": {("title", "year")}},
)
REVIEW = migrations.CreateModel(
    "Review",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("movie", models.ForeignKey("films.Movie", models.CASCADE)),
    ],
)

ROWS = 7

#: On every database.
COMMON = [
    "CREATE TABLE audit (what varchar(200))",
    # Tables with the names of ours, each with a row.
    "CREATE TABLE batch (key0 integer, value0 integer, id integer, slug integer)",
    "CREATE TABLE source (key0 integer, value0 integer)",
    "CREATE TABLE safefield_values "
    "(safefield_key0 integer, safefield_value varchar(50))",
    "CREATE TABLE safefield_probe (c integer)",
    "CREATE TABLE safefield_rehearsal (id integer, title varchar(50), slug integer)",
    'CREATE TABLE "new__films_movie" (id integer)',
    'CREATE TABLE "old__films_movie" (id integer)',
    "INSERT INTO batch VALUES (1, 1, 1, 1)",
    "INSERT INTO source VALUES (1, 1)",
    "INSERT INTO safefield_values VALUES (1, 'mine')",
    "INSERT INTO safefield_probe VALUES (1)",
    "INSERT INTO safefield_rehearsal VALUES (1, 'mine', 1)",
    'INSERT INTO "new__films_movie" VALUES (1)',
    'INSERT INTO "old__films_movie" VALUES (1)',
    # Indexes and columns by hand.
    "CREATE UNIQUE INDEX safefield_values_key ON batch (key0)",
    "CREATE INDEX by_hand ON films_movie (year, title)",
    "CREATE INDEX by_hand_desc ON films_movie (year DESC, id)",
    "CREATE UNIQUE INDEX by_hand_unique ON films_movie (year, title)",
    "CREATE VIEW titles AS SELECT id, title FROM films_movie WHERE year > 1900",
    "CREATE VIEW titles_of_titles AS SELECT title FROM titles",
]

POSTGRESQL = [
    "CREATE TYPE mood AS ENUM ('sad', 'happy')",
    "CREATE DOMAIN price AS numeric(8, 2) CHECK (VALUE >= 0)",
    "CREATE SEQUENCE numbers START 5",
    "ALTER TABLE films_movie "
    "ADD by_hand_mood mood DEFAULT 'happy', "
    "ADD by_hand_price price, "
    "ADD by_hand_number integer NOT NULL DEFAULT nextval('numbers'), "
    "ADD by_hand_double integer GENERATED ALWAYS AS (year * 2) STORED, "
    "ADD by_hand_text text COLLATE \"C\" NOT NULL DEFAULT '?', "
    "ADD by_hand_points int4range, "
    "ADD by_hand_search tsvector, "
    "ADD by_hand_code char(5)",
    "ALTER SEQUENCE numbers OWNED BY films_movie.by_hand_number",
    "UPDATE films_movie SET by_hand_points = int4range(id::int, id::int + 1), "
    "by_hand_search = to_tsvector(title), by_hand_code = 'a' || id",
    "ALTER TABLE films_movie "
    "ALTER title SET STORAGE EXTERNAL, "
    "ALTER title SET STATISTICS 321, "
    "ALTER note SET (n_distinct = -0.5), "
    "SET (fillfactor = 71, autovacuum_enabled = false), "
    "ADD CONSTRAINT by_hand_check CHECK (year > 1800), "
    "ADD CONSTRAINT by_hand_late CHECK (year < 2200) NOT VALID, "
    "ADD CONSTRAINT by_hand_excluded EXCLUDE USING gist (by_hand_points WITH &&), "
    "ADD CONSTRAINT by_hand_pair UNIQUE (id, year) DEFERRABLE INITIALLY IMMEDIATE",
    "CREATE INDEX by_hand_hash ON films_movie USING hash (title)",
    "CREATE INDEX by_hand_brin ON films_movie USING brin (id)",
    "CREATE INDEX by_hand_gin ON films_movie USING gin (by_hand_search)",
    "CREATE INDEX by_hand_gist ON films_movie USING gist (by_hand_points)",
    "CREATE INDEX by_hand_include ON films_movie (year) INCLUDE (title)",
    "CREATE INDEX by_hand_opclass ON films_movie (title varchar_pattern_ops)",
    "CREATE INDEX by_hand_partial ON films_movie (year) WHERE note = ''",
    "CREATE UNIQUE INDEX by_hand_partial_unique ON films_movie (title) "
    "WHERE year < 1900",
    'CREATE INDEX by_hand_expression ON films_movie (lower(title) COLLATE "C")',
    "CREATE INDEX by_hand_invalid ON films_movie (note)",
    "UPDATE pg_index SET indisvalid = false "
    "WHERE indexrelid = 'by_hand_invalid'::regclass",
    # On the column that is altered.
    "CREATE INDEX by_hand_code_hash ON films_movie USING hash (code)",
    "CREATE INDEX by_hand_code_brin ON films_movie USING brin (code)",
    "CREATE INDEX by_hand_code_desc ON films_movie (code DESC)",
    "CREATE UNIQUE INDEX by_hand_code_partial ON films_movie (code) WHERE year < 0",
    "CREATE INDEX by_hand_code_expression ON films_movie (upper(code))",
    "CREATE INDEX by_hand_code_include ON films_movie (code) INCLUDE (title)",
    "CREATE STATISTICS by_hand_code_statistics ON code, title FROM films_movie",
    "COMMENT ON COLUMN films_movie.code IS 'By hand'",
    "GRANT UPDATE (code) ON films_movie TO PUBLIC",
    "ALTER TABLE films_movie ALTER code SET STORAGE EXTERNAL, "
    "ALTER code SET STATISTICS 123, "
    "ADD CONSTRAINT by_hand_code_check CHECK (code <> 'x')",
    "CREATE VIEW codes AS SELECT code FROM films_movie",
    "CREATE STATISTICS by_hand_statistics (dependencies) ON year, title "
    "FROM films_movie",
    "CREATE FUNCTION note_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO audit VALUES (TG_NAME); RETURN NEW; END $$",
    "CREATE TRIGGER by_hand_before BEFORE UPDATE OF title ON films_movie "
    "FOR EACH ROW EXECUTE FUNCTION note_it()",
    "CREATE TRIGGER by_hand_statement AFTER TRUNCATE ON films_movie "
    "FOR EACH STATEMENT EXECUTE FUNCTION note_it()",
    "CREATE TRIGGER by_hand_off AFTER UPDATE ON films_movie "
    "FOR EACH ROW EXECUTE FUNCTION note_it()",
    "ALTER TABLE films_movie DISABLE TRIGGER by_hand_off",
    "CREATE CONSTRAINT TRIGGER by_hand_deferred AFTER UPDATE ON films_movie "
    "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
    "WHEN (OLD.title <> NEW.title) EXECUTE FUNCTION note_it()",
    "CREATE TRIGGER by_hand_instead INSTEAD OF INSERT ON titles "
    "FOR EACH ROW EXECUTE FUNCTION note_it()",
    "CREATE RULE by_hand_rule AS ON DELETE TO films_movie WHERE OLD.year < 0 "
    "DO INSTEAD NOTHING",
    "CREATE MATERIALIZED VIEW years AS SELECT year FROM films_movie",
    "CREATE UNIQUE INDEX years_year ON years (year)",
    "COMMENT ON TABLE films_movie IS 'Films'",
    "COMMENT ON COLUMN films_movie.title IS 'Its title'",
    "COMMENT ON INDEX by_hand IS 'By hand'",
    "COMMENT ON CONSTRAINT by_hand_check ON films_movie IS 'Checked'",
    "GRANT SELECT ON films_movie TO PUBLIC",
    "GRANT UPDATE (title) ON films_movie TO PUBLIC",
    "ALTER TABLE films_movie ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY by_hand_policy ON films_movie USING (year > 0)",
    "ALTER TABLE films_movie REPLICA IDENTITY FULL",
    "CREATE TABLE films_sequel (by_hand_more text) INHERITS (films_movie)",
    "ALTER TABLE films_sequel REPLICA IDENTITY FULL",
    "CREATE TABLE tickets (id integer PRIMARY KEY, "
    "movie bigint REFERENCES films_movie ON DELETE SET NULL ON UPDATE CASCADE)",
    "INSERT INTO tickets VALUES (1, 3)",
    "CREATE TYPE slug AS ENUM ('a')",
    "CREATE SEQUENCE films_movie_slug",
    "DROP PUBLICATION IF EXISTS by_hand_publication",
    # Of inserts: PostgreSQL 18 publishes no update where a generated column, which is
    # part of the replica identity above, is not published.
    "CREATE PUBLICATION by_hand_publication FOR TABLE films_movie "
    "WITH (publish = 'insert')",
    "ANALYZE films_movie",
    "SELECT pg_advisory_lock(42)",
    "SET lock_timeout = '7s'",
    "SET statement_timeout = '70s'",
    "SET work_mem = '5MB'",
    "SET standard_conforming_strings = on",
    "SET search_path = public, pg_catalog",
]

MYSQL = [
    "CREATE TABLE labels (name varchar(50) PRIMARY KEY) CHARACTER SET latin1",
    # MySQL gives no default to the geometry of a row that is there.
    "ALTER TABLE films_movie ADD by_hand_point point DEFAULT (point(1, 2))",
    "UPDATE films_movie SET by_hand_point = point(1, 2)",
    # MySQL may keep tables together, and those that are compressed must not be.
    "ALTER TABLE films_movie TABLESPACE innodb_file_per_table, COMMENT = 'Films', "
    "ROW_FORMAT = COMPRESSED, AUTO_INCREMENT = 500, "
    "MODIFY title varchar(100) CHARACTER SET latin1 COLLATE latin1_german2_ci "
    "NOT NULL COMMENT 'Its title', "
    "ADD by_hand_text varchar(20) NOT NULL DEFAULT 'x', "
    "ADD by_hand_double int AS (year * 2) STORED, "
    "ADD by_hand_triple int AS (year * 3) VIRTUAL, "
    "ADD by_hand_at timestamp NOT NULL DEFAULT '2001-02-03' "
    "ON UPDATE CURRENT_TIMESTAMP, "
    "MODIFY by_hand_point point NOT NULL DEFAULT (point(1, 2)), "
    "ADD by_hand_kind enum('a', 'b') DEFAULT 'b', "
    "ADD CONSTRAINT by_hand_check CHECK (year > 1800), "
    "ADD FULLTEXT INDEX by_hand_fulltext (note), "
    "ADD SPATIAL INDEX by_hand_spatial (by_hand_point), "
    "ADD INDEX by_hand_prefix (note(7)), "
    # On the column that is altered.
    "ADD FULLTEXT INDEX by_hand_code_fulltext (code), "
    "ADD INDEX by_hand_code_prefix (code(7)), "
    "ADD INDEX by_hand_code_pair (code, year), "
    "ADD CONSTRAINT by_hand_code_check CHECK (code <> 'x'), "
    "ADD INDEX by_hand_comment (year) COMMENT 'Years'",
    "CREATE TRIGGER by_hand_before BEFORE UPDATE ON films_movie FOR EACH ROW "
    "BEGIN IF NEW.title <> OLD.title THEN INSERT INTO audit VALUES ('title'); "
    "END IF; END",
    "CREATE TRIGGER by_hand_insert AFTER INSERT ON films_movie FOR EACH ROW "
    "INSERT INTO audit VALUES (NEW.title)",
    "CREATE TRIGGER by_hand_delete AFTER DELETE ON films_movie FOR EACH ROW "
    "INSERT INTO audit VALUES (OLD.title)",
    "CREATE TABLE tickets (id integer PRIMARY KEY, movie bigint, "
    "CONSTRAINT ticket_movie FOREIGN KEY (movie) REFERENCES films_movie (id) "
    "ON DELETE SET NULL ON UPDATE CASCADE)",
    "INSERT INTO tickets VALUES (1, 3)",
    "CREATE PROCEDURE by_hand_procedure() SELECT title FROM films_movie",
    "SET SESSION lock_wait_timeout = 77, innodb_lock_wait_timeout = 33, "
    "sql_mode = 'ANSI_QUOTES', time_zone = '+03:00', group_concat_max_len = 1234",
]

MARIADB = [
    "CREATE SEQUENCE numbers START 5",
    "ALTER TABLE films_movie ADD by_hand_hidden int INVISIBLE DEFAULT 3",
    "ALTER TABLE films_movie ALTER INDEX by_hand_comment IGNORED",
    "ANALYZE TABLE films_movie PERSISTENT FOR ALL",
]

SQLITE_TABLE = '''CREATE TABLE "films_movie" (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- the key, of course
    `title` varchar(100) COLLATE NOCASE NOT NULL,
    [year] integer NOT NULL DEFAULT (1900 + 1) CHECK ("films_movie"."year" > 1800),
    "note" text NOT NULL /* a, ( comment */ DEFAULT 'a, ("b'')',
    "code" varchar(60) NULL,
    "first_id" bigint NOT NULL REFERENCES "films_studio" ("id")
        DEFERRABLE INITIALLY DEFERRED,
    "by hand, ""odd""" text DEFAULT 'odd',
    by_hand_double integer GENERATED ALWAYS AS (year * 2) STORED,
    by_hand_triple integer AS (year * 3) VIRTUAL,
    by_hand_other integer UNIQUE ON CONFLICT REPLACE
        REFERENCES tickets (id) ON DELETE CASCADE,
    CONSTRAINT by_hand_check CHECK (year < 2200),
    UNIQUE (title, year) ON CONFLICT FAIL
)'''

SQLITE_TICKETS = (
    "CREATE TABLE tickets (id integer PRIMARY KEY, "
    "movie bigint REFERENCES films_movie ON DELETE SET NULL ON UPDATE CASCADE)"
)

SQLITE = [
    "INSERT INTO tickets VALUES (1, 3)",
    "UPDATE films_movie SET by_hand_other = 1 WHERE id = 2",
    'UPDATE films_movie SET "by hand, ""odd""" = x\'00FF\' WHERE id = 3',
    "CREATE INDEX by_hand_partial ON films_movie (year) WHERE note = ''",
    "CREATE UNIQUE INDEX by_hand_partial_unique ON films_movie (title) "
    "WHERE year < 1900",
    "CREATE INDEX \"by hand expression\" ON films_movie (lower(title) || '100%')",
    "CREATE INDEX by_hand_collated ON films_movie (note COLLATE RTRIM DESC)",
    # On the column that is altered.
    "CREATE INDEX by_hand_code_partial ON films_movie (code) WHERE year < 0",
    "CREATE INDEX by_hand_code_desc ON films_movie (code DESC)",
    "CREATE INDEX by_hand_code_collated ON films_movie (code COLLATE NOCASE)",
    "CREATE INDEX by_hand_code_expression ON films_movie (upper(code))",
    "CREATE VIEW codes AS SELECT code FROM films_movie",
    "CREATE TRIGGER by_hand_update AFTER UPDATE OF title ON films_movie "
    "BEGIN INSERT INTO audit VALUES (NEW.title); END",
    "CREATE TRIGGER by_hand_instead INSTEAD OF INSERT ON titles "
    "BEGIN INSERT INTO audit VALUES (NEW.title); END",
    "CREATE TRIGGER by_hand_ticket AFTER INSERT ON tickets "
    "BEGIN UPDATE films_movie SET note = 'sold' WHERE id = NEW.movie; END",
    "CREATE TEMP TRIGGER by_hand_temporary AFTER DELETE ON films_movie "
    "BEGIN INSERT INTO audit VALUES (OLD.title); END",
    "UPDATE sqlite_sequence SET seq = 500 WHERE name = 'films_movie'",
    "ANALYZE",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA cache_size = 1234",
    "PRAGMA busy_timeout = 4321",
]


def build(history: History) -> None:
    """Create the tables with their rows, and what other people made."""
    connection = history.connection
    history.apply(STUDIO, MOVIE, REVIEW)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("DROP TABLE films_movie")
            cursor.execute(SQLITE_TABLE, None)
            cursor.execute(SQLITE_TICKETS, None)
            cursor.execute(
                "CREATE INDEX films_movie_first ON films_movie (first_id)", None
            )
    studio = history.model("Studio")
    history.rows("Studio").bulk_create(studio() for _ in range(ROWS))
    history.rows("Movie").bulk_create(
        history.model("Movie")(
            title=f"Film {n}",
            year=1900 + n,
            note="note " * 400 * (n % 2),
            first_id=n,
        )
        for n in range(1, ROWS + 1)
    )
    history.rows("Movie").filter(pk=4).delete()
    history.rows("Review").bulk_create([history.model("Review")(movie_id=3)])
    statements = list(COMMON)
    if connection.vendor == "postgresql":
        statements += POSTGRESQL
    elif connection.vendor == "mysql":
        statements += MYSQL + (MARIADB if connection.mysql_is_mariadb else [])
    else:
        statements += SQLITE
    with connection.cursor() as cursor:
        for statement in statements:
            if connection.vendor == "mysql":
                statement = statement.replace('"', "`")
            cursor.execute(statement, None)
