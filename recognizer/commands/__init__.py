"""The commands of `python -m recognizer`. Each returns its exit code, or None for 0; `cli` joins them."""
