"""The tests of lossact."""

from lossact.threads import keep_threads_from_spinning

# torch reads this when it is loaded, here and in every process that a test starts.
keep_threads_from_spinning()
