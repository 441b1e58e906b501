"""What every database does the same way."""
