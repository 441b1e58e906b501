"""
The tests of Django's that fail with safefield installed, and why they have to.

They are the same on Django 5.2, 6.0 and 6.1.
"""

from __future__ import annotations

__all__ = ["EXPECTED", "LABELS"]

#: What each witness runs.
LABELS = {
    "command": ["migrations"],
    "autodetector": ["migrations.test_autodetector", "migrations.test_writer"],
    "one_off_default": ["migrations.test_commands"],
}

_QUESTION = "Expects Django's question, or its refusal with --noinput: "
_OPERATION = (
    "Expects AddField where safefield writes a backfill, alone in a migration: "
)

# They count the apps without migrations, and safefield is one of them.
_ONE_MORE_APP = {
    "migrations.test_commands.MigrateTests."
    "test_migrate_syncdb_deferred_sql_executed_with_schemaeditor": (
        "Expects a list of exactly one app without migrations; safefield is another."
    ),
}
_ONE_MORE_APP_IN_LOADER = {
    f"migrations.test_loader.LoaderTests.{name}": (
        "Expects a set of exactly the apps without migrations; safefield is another."
    )
    for name in (
        "test_explicit_missing_module",
        "test_marked_as_migrated",
        "test_marked_as_unmigrated",
    )
}

_COMMAND = {
    f"migrations.test_commands.MakeMigrationsTests.{name}": _QUESTION + what
    for name, what in {
        "test_makemigrations_auto_now_add_interactive": "auto_now_add.",
        "test_makemigrations_auto_now_add_interactive_quit": "auto_now_add.",
        "test_makemigrations_non_interactive_auto_now_add_addition": "auto_now_add.",
        "test_makemigrations_interactive_not_null_addition": "a required field.",
        "test_makemigrations_non_interactive_not_null_addition": "a required field.",
        "test_makemigrations_interactive_not_null_alteration": (
            "a nullable field made required."
        ),
        "test_makemigrations_non_interactive_not_null_alteration": (
            "a nullable field made required."
        ),
        "test_makemigrations_interactive_unique_callable_default_addition": (
            "unique with a callable default."
        ),
    }.items()
}

_AUTODETECTOR = {
    f"migrations.test_autodetector.AutodetectorTests.{name}": why
    for name, why in {
        "test_add_field": _OPERATION + "name.",
        "test_alter_field_and_unique_together": (
            "Expects AlterField where safefield writes a backfill, alone in a "
            "migration: name, which becomes unique."
        ),
        "test_add_alter_order_with_respect_to": _OPERATION + "book.",
        "test_add_constraints_with_new_model": _OPERATION + "pony.",
        "test_add_field_and_unique_together": _OPERATION + "newfield.",
        "test_add_field_before_generated_field": _OPERATION + "surname.",
        "test_add_fk_before_generated_field": _OPERATION + "publisher.",
        "test_add_index_with_new_model": _OPERATION + "pony.",
        "test_create_model_and_unique_together": _OPERATION + "author.",
        "test_fk_dependency_other_app": _OPERATION + "book.",
        "test_many_to_many_changed_to_concrete_field": _OPERATION + "publishers.",
        "test_replace_string_with_foreignkey": _OPERATION + "publisher.",
        "test_add_date_fields_with_auto_now_add_asking_for_default": (
            _OPERATION + "three dates with auto_now_add."
        ),
        "test_add_date_fields_with_auto_now_add_not_asking_for_null_addition": (
            _OPERATION + "three dates with auto_now_add."
        ),
        "test_add_non_blank_textfield_and_charfield": _QUESTION + "a required field.",
        "test_alter_field_to_not_null_oneoff_default": (
            _QUESTION + "a nullable field made required."
        ),
        "test_alter_field_to_not_null_without_default": (
            _QUESTION + "a nullable field made required."
        ),
    }.items()
}

#: By witness: the ids of the tests that must fail, each with its reason.
EXPECTED: dict[str, dict[str, str]] = {
    "command": _COMMAND | _ONE_MORE_APP | _ONE_MORE_APP_IN_LOADER,
    "autodetector": _AUTODETECTOR,
    "one_off_default": _ONE_MORE_APP,
}
