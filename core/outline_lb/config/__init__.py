"""From text to typed settings.

`reader` and `source` make plain data of YAML, with the place of every node, and `overrides` lays values of the command line and the environment
over it. `schema` says whether a node is what it should be, and `explain` says
what is wrong, in our own words; `problems` gathers it. `components` turns nodes of plugins into what can be built, `choices` fills what is left
open, `upstream` and `build` make `settings` of the whole, and `load` is the one door for the program. `bundle` is for editors.
"""
