"""Makes `python -m inversionlab` the console command."""

from inversionlab.commands.main import main

if __name__ == "__main__":
    main()
