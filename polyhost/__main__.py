"""`python -m polyhost`: the command line."""

from polyhost.cli.main import main

if __name__ == "__main__":
    main()
