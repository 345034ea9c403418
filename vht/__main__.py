"""``python -m vht``: the program, where its folder is not on the path."""

from vht.cli import main

if __name__ == "__main__":
    main()
