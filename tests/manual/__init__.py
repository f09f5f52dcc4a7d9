"""Programs that try this server with software that is too large for the test suite. They are run by hand."""
