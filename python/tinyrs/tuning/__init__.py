"""What a fit decides from held-out rows: which epoch to keep, the temperature, when callbacks stop it."""
