"""A sweep as a page, a picture and files."""
