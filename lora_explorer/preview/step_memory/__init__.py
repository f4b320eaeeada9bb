"""Memory of a preview's step: predicted before it runs, measured while it does."""
