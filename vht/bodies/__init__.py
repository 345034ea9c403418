"""Whole bodies: organs of the library joined through their ports. `vht.library` lists them beside the organs."""
