"""What is made of staged files: plain functions, files in and files out, without a network."""
