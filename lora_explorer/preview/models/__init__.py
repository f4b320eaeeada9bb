"""Weights and the model they fill: found, fetched or made up in the right shape, loaded, adapted."""
