"""Many flows to lines at a time, with numpy (the extra "fast"): the lines of rendering.py, byte for byte."""
