"""Work that problems share: notes of one run, read in the next."""
