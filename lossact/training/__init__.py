"""The LightningModules and their metrics. Importing this room's files imports lightning."""
