"""What larger defenses are made of; no defense by itself."""
