"""The server for one machine."""
