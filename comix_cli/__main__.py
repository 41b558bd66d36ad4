"""`python -m comix_cli`, which is how torchrun starts it."""

from comix_cli.commands.app import main

if __name__ == "__main__":
    main()
