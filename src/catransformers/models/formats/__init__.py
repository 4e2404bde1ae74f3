"""Configurations and tensor names of open_clip, timm and Hugging Face, into ours and back."""
