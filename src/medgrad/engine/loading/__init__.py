"""Prepared cases kept, parts of them drawn, batches made ahead."""
