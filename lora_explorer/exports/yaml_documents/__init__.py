"""YAML as text: where its values stand, and how single ones change."""
