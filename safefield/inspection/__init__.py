"""Look at the backfills of a project: only commands come here."""
