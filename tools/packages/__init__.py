"""What the image is made of: its packages with versions and hashes, their licences, and a bill of materials."""
