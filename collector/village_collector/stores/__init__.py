"""What the collector keeps on disk: readings by time, and everything else."""
