"""Runs a model on `meta` tensors, and notes every allocation that a GPU would make."""
