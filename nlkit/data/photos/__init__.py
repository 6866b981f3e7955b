"""Photographs: lists in the official layouts, decoding, the store of decoded images, and batches of them."""
