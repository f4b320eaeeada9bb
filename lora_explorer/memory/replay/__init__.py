"""The order of allocations played to a replica of PyTorch's caching allocator, loading included."""
