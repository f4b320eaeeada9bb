"""pytest puts this folder on the path, so that the tests of every program share `recipe_values`."""
