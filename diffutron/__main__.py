"""`python -m diffutron STAGE ...`, the form that torchrun starts."""

from diffutron.cli import main

if __name__ == "__main__":
    main()
