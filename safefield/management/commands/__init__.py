"""The commands of safefield, a module each."""
