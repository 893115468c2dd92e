"""Several processes on one directory: every order, kills, forks, exits, waiting."""
