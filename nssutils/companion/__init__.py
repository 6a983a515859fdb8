"""The companion: what is kept of the studies and how the book shows it. Nothing of it is needed to slice a network."""
