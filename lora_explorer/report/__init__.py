"""Results in words, tables, figures and HTML: what the page, the command line and the Python API all show."""
