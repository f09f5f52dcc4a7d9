"""The command `recognizer`, or `python -m recognizer`."""

from recognizer.core.interrupts import end_quietly, raise_interrupts


def main() -> None:
    """Run the command line; it ends the process."""
    end_quietly()
    from recognizer import cli

    try:
        raise_interrupts()
        cli.main()
    finally:
        end_quietly()


if __name__ == "__main__":
    main()
