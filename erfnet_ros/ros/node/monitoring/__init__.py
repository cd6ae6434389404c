"""What the node watches, and what it says of that on /diagnostics."""
