"""What the worker does: the Trainer, its events, samples and the adapter it leaves."""
