"""The version: the one place that states it. The package, the reports and the build all read it here."""

__version__ = "0.2.0"
