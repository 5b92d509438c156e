"""The Explorer: the widget that shows slices, lets a person name them, and remembers what was said."""

from failviz.widget.explorer import Explorer

__all__ = ["Explorer"]
