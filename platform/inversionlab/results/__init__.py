"""Records of runs and searches, tables of what they found, and the one rule of what is strongest."""
