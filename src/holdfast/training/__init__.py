"""The training loop and honest scores."""
