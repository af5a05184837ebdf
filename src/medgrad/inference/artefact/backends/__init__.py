"""What runs an exported network: one runtime a file."""
