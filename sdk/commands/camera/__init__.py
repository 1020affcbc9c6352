"""The commands around a camera: its stream, its service, its pictures."""
