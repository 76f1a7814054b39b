"""Training in this process: conditions become LightningModules, and these become trials."""
