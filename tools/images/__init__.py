"""`make image-test`: the CPU image and the compose file, built and run by real tools.

For Linux, as root, with buildah, podman and debootstrap; Docker is not needed. Where something is missing, one sentence
says what, and nothing is done. `tools.images.needs` lists what it takes, `tools.images.stack` what must hold.
"""
