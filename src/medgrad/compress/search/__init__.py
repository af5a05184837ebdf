"""The search for a smaller network: stages on the way to a target, and what they are held against."""
