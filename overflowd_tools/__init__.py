"""Overflowd tools: flow exports in, signed tracer reports out."""

__version__ = "0.1.0"
