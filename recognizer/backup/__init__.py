"""Everything that is stored, in one file and back; and changing the key that it is encrypted with."""
