"""Where models come from: a folder or an object store, and the versions that lie there."""
