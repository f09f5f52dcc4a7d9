"""What every other package builds on: errors, values, settings, files, locks, encryption, audit. Imports nothing else."""
