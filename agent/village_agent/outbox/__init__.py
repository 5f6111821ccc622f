"""Everything that must reach the collector: on disk, bounded, counted when lost."""
