"""The `erfnet` command and its sub-commands."""
