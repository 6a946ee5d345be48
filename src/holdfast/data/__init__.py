"""Readers, validation, splits with leak checks, and batches."""
