"""Self-contained pages: one HTML file with its tables, charts and pictures inside, which asks the network for nothing.

`elements` says what a page can hold, the chart modules draw SVG, and `render` writes HTML and Markdown.
"""
