"""The guts of each command: paths and a frozen options record in, files out."""
