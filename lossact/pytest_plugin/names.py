"""Names that pytest knows the plugin by."""

PLUGIN_NAME = "lossact-claims"  # of the plugin that decides claims
