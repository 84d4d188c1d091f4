"""``python -m evalkit``, and the console script."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line with the arguments of this process, and exit."""
    from evalkit.cli.console import prepare_streams

    prepare_streams()
    try:
        from evalkit.cli.app import main as run_command

        run_command()
    except KeyboardInterrupt:  # before the command line can handle it: while modules are imported
        sys.stderr.write("evalkit: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
