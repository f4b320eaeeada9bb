"""The step a recipe asks for: everything that moves bytes, as one frozen value, and how it is spread over GPUs."""
