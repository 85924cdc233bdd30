"""The console's commands, such as `inversionlab audit`; the scripts in jobs/ run the same functions."""
