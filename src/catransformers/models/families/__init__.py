"""The nets: CLIP, ViT, BERT and Llama, with attention whose width pruning may change."""
