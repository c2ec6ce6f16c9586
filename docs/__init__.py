"""The documentation: pages in Markdown, and the hooks of MkDocs that make the rest of the site."""
