"""Data loading: cached prepared cases, random patches, and prefetched batches."""
