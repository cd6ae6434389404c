"""Lightning module, callbacks and losses."""
