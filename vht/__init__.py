"""vht: patient twins."""
