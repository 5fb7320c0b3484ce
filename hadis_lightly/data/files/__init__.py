"""Images in folders: lists of files, decoding, what is wrong with them."""
