"""Knowledge graphs: triples, the score functions that judge them, and how texts give them a start."""
