"""Which storages live while real operators run: the watcher of a step, on meta or on real tensors."""
