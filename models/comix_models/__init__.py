"""Networks for the semantic segmentation of hyperspectral images with a second sensor.

Pure torch: nothing here knows files, georeferencing or a command line. ``spec`` says what a network
is made of, ``build`` makes it.
"""
