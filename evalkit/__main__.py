"""``python -m evalkit``."""

import sys

if __name__ == "__main__":
    from evalkit.cli.console import prepare_streams

    prepare_streams()
    try:
        from evalkit.cli.app import main

        main()
    except KeyboardInterrupt:  # before the command line could take it: while modules are imported
        sys.stderr.write("evalkit: interrupted\n")
        sys.exit(130)
