"""Vectors of stocks from prices and texts, by contrastive learning."""
