"""The commands of the command line, one module each. A command returns its exit code, or None for 0."""
