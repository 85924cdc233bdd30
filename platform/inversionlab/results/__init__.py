"""What was found: records of runs and searches, tables, and the one rule of what is strongest."""
