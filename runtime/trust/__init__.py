"""Whose bundles are loaded: signatures of OpenSSF model signing, and a policy."""
