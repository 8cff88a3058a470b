"""Parts of a page; each draws its own lines and repaints only the cells that changed."""
