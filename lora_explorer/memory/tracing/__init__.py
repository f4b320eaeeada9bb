"""One real step on the meta device: the model made ready, run once under the watcher and written out to full depth."""
