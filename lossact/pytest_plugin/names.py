"""The names under which plugins are registered with pytest."""

PLUGIN_NAME = "lossact-claims"  # the plugin that decides claims
