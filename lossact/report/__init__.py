"""What people look at: tables, JSON, W&B runs."""
