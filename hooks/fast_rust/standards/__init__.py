"""The guide, second edition: its pages, and the documents made from them."""
