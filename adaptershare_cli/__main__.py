"""`python -m adaptershare_cli` is the console command `adaptershare`."""

from adaptershare_cli.cli.app import main

if __name__ == "__main__":
    main()
