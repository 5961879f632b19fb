"""`python -m ferret`: the command, where it is not on the path."""

from ferret.cli import main

if __name__ == "__main__":
    main()
