"""What runs, and how one configuration of it becomes the next without an interruption."""
