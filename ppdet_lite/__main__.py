"""`python -m ppdet_lite` does what `ppdet` does."""

from ppdet_lite.commands.main import main

if __name__ == "__main__":
    main()
