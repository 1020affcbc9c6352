"""Pages in a browser: their server, who may open them, and the live page of a stream."""
