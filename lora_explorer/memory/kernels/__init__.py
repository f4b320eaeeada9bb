"""What the kernels of a GPU allocate and keep where the meta device would run something else."""
