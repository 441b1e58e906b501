"""From a changed model to a migration file: only makemigrations comes here."""
