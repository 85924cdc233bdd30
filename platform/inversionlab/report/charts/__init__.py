"""Charts: tidy tables in, Vega-Lite by Altair out, as pictures in a page, live in a browser, or as files."""
