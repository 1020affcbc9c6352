"""How folders and tables of labelled images are laid out: one file a layout."""
