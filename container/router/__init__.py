"""The router: the process in front of Multi Model Server that serves a model store, which MMS cannot do itself."""
