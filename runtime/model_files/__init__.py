"""Model files of strangers, looked through as data before a library loads them."""
