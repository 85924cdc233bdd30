"""Charts as geometry; the templates draw them as inline SVG."""
