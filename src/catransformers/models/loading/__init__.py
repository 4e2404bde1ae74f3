"""Loading and saving: base models on disk, in a library's cache or on the hub, with tokenizer and preprocessing."""
