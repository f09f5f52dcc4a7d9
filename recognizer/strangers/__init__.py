"""People whom cameras showed and nobody enrolled, grouped by person until they are named."""
