"""Pages, tables and sentences for people, made from results alone."""
