"""What the YAML tab says beside the file."""
