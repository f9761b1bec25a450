"""`python -m diffutron STAGE ...`, the form that torchrun starts."""

from diffutron.cli.app import main

if __name__ == "__main__":
    main()
