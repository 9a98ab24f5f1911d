"""A hook of mkdocs.yml: in the site, what lies outside of docs/ is on GitHub."""

import re


def on_page_markdown(markdown, config, **_):
    """The text of a page, its links ](../PATH) as links to the repository."""
    return re.sub(r"\]\(\.\./([^)\s]+)\)", rf"]({config['repo_url']}/blob/main/\1)", markdown)
