"""What users rely on, tried against real servers."""
