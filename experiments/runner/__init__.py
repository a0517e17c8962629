"""One run, from the spec to its folder."""
