"""Fitted transforms, saved with the model so that training and serving see the same numbers."""
