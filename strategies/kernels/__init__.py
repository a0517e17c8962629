"""What the rules compute with; a kernel knows no rule."""
