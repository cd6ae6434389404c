"""Recovery of messages from bags that were cut off."""
