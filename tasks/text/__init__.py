"""Text classification: texts, how they become numbers, and the models that read them."""
