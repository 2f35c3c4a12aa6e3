"""Image files and arrays -> upright RGB pixels, and back.

A path, bytes in a record, an array or a Pillow image goes in; an (H, W, 3) uint8 array comes out, or an error that names the
file. Also here: what letterboxes a picture, and the hash that tells pictures that look alike.
"""
