"""Layers: the packages that archives ask for in a requirements.txt, installed once, and shared by all that ask alike.

The fork server looks whether there is a layer (forkserver/model_layers.py), and otherwise starts a builder, a process
of its own (`__main__`, `builder`), which runs uv and leaves a folder that nobody changes any more (`store`). A layer
holds no package that the image has: `image` shows uv those as installed, and fixes their versions. The worker puts the
layer behind the image's packages on its search path (handlers/import_path.py).
"""
