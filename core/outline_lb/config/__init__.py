"""From text to typed settings.

source: YAML to plain data, with the place of every node; schema: is it what the schema says, and what is wrong with it in our own words;
components: nodes of plugins to what can be built; build: the whole document to `Settings`; load: the one door for the program.
"""
