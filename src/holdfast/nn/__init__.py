"""Modules: the LSTM layer and the parts of a network around it."""
